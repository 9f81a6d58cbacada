"""The book of memory blocks: each counted once, while it lives, under its last name."""

from ffedge.interop.ledger import KINDS, Ledger


class Block:
    """Anything that can be referred to weakly."""


def test_a_block_counts_once_and_until_it_dies():
    ledger, block = Ledger(), Block()

    ledger.meet(block, 100)
    ledger.meet(block, 100)
    alive = ledger.total
    del block

    assert (alive, ledger.total, ledger.peak) == (100, 0, 100)


def test_the_peak_is_of_the_sum_not_the_sum_of_peaks():
    ledger = Ledger()
    for nbytes in (300, 200):
        block = Block()
        ledger.meet(block, nbytes)
        del block

    assert ledger.peak == 300


def test_the_peak_is_told_apart_by_kind():
    ledger, weight, activity, late = Ledger(), Block(), Block(), Block()
    ledger.name(weight, 10, "weights")
    ledger.making = "activations"
    ledger.meet(activity, 5)
    del activity
    ledger.meet(late, 4)

    assert ledger.at_peak == dict.fromkeys(KINDS, 0) | {"weights": 10, "activations": 5}
    assert ledger.by_kind["activations"] == 4


def test_a_name_given_at_the_worst_moment_still_counts_for_it():
    ledger, block = Ledger(), Block()
    ledger.meet(block, 8)
    ledger.name(block, 8, "gradients")

    assert ledger.at_peak == dict.fromkeys(KINDS, 0) | {"gradients": 8}
