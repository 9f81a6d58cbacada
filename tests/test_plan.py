"""Places of buffers: nothing that is alive at the same moment shares a byte."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.errors import BudgetError
from ffedge.plan import ALIGNMENT, CATEGORIES, END, Need, Plan, aligned, most_alive, place
from ffedge.tensor import TensorSpec


def need(name, nbytes, stages=(0, END), phases=(0, END), category="workspace"):
    return Need(name, TensorSpec((nbytes,), "uint8"), category, stages, phases)


@st.composite
def intervals(draw):
    first = draw(st.integers(0, 4))
    return first, draw(st.sampled_from([first, first + 1, first + 3, END]))


needs_lists = st.lists(
    st.tuples(st.integers(0, 5000), intervals(), intervals(), st.sampled_from(CATEGORIES)),
    max_size=25,
).map(lambda rows: [need(f"b{i}", *row) for i, row in enumerate(rows)])


def assert_sound(plan: Plan) -> None:
    """Every buffer aligned, inside the peak, and apart from all that it meets."""
    for i, one in enumerate(plan.buffers):
        assert one.offset % ALIGNMENT == 0
        assert one.end <= plan.peak
        for other in plan.buffers[i + 1 :]:
            if one.need.meets(other.need):
                assert one.end <= other.offset or other.end <= one.offset, (one, other)


def load_at_worst(needs):
    """The most bytes alive at one moment: no plan can do with less."""
    moments = itertools.product(
        {stage for n in needs for stage in n.stages}, {phase for n in needs for phase in n.phases}
    )
    return max(
        (
            sum(
                aligned(n.spec.nbytes)
                for n in needs
                if n.stages[0] <= s <= n.stages[1] and n.phases[0] <= p <= n.phases[1]
            )
            for s, p in moments
        ),
        default=0,
    )


@settings(max_examples=300, deadline=None)
@given(needs_lists)
def test_buffers_that_meet_never_overlap(needs):
    plan = place(needs)

    assert_sound(plan)
    assert sorted(b.name for b in plan.buffers) == sorted(n.name for n in needs)
    assert plan.peak >= load_at_worst(needs)


@settings(max_examples=300, deadline=None)
@given(needs_lists)
def test_the_most_alive_is_the_load_at_the_worst_moment(needs):
    assert most_alive(needs) == load_at_worst(needs) <= place(needs).peak


@given(needs_lists)
def test_a_plan_does_not_depend_on_the_order_of_the_needs(needs):
    assert place(needs) == place(reversed(needs))


def test_peak_of_buffers_that_live_together_is_their_sum():
    plan = place([need("a", 100), need("b", 64), need("c", 1)])

    assert plan.peak == 128 + 64 + 64


def test_peak_of_buffers_that_never_meet_is_the_largest():
    plan = place([need(f"b{i}", 100 * i, stages=(i, i)) for i in range(1, 6)])

    assert plan.peak == aligned(500)


def test_peak_of_a_chain_is_its_largest_pair_of_neighbours():
    sizes = [640, 128, 320, 256]
    plan = place([need(f"b{i}", size, phases=(i, i + 1)) for i, size in enumerate(sizes)])

    assert plan.peak == 640 + 128


def test_peak_is_minimal_where_lifetimes_nest():
    needs = [
        need("always", 1000),
        need("outer", 500, stages=(1, 4)),
        need("inner", 300, stages=(2, 3)),
        need("late", 700, stages=(5, 9)),
    ]

    assert place(needs).peak == load_at_worst(needs) == aligned(1000) + aligned(500) + aligned(300)


def test_an_empty_plan_needs_nothing():
    assert place([]).peak == 0


@pytest.mark.parametrize(("nbytes", "padded"), [(0, 0), (1, 64), (64, 64), (65, 128)])
def test_sizes_are_rounded_up_to_a_cache_line(nbytes, padded):
    assert aligned(nbytes) == padded


def test_categories_are_summed_with_padding():
    plan = place([need("w", 1, category="weights"), need("d", 65, category="data")])

    sums = plan.by_category()

    assert list(sums) == list(CATEGORIES)
    assert (sums["weights"], sums["data"], sums["activations"]) == (64, 128, 0)


def test_categories_are_those_of_the_fullest_moment():
    plan = place([
        need("early", 640, phases=(0, 0), category="weights"),
        need("late", 1280, phases=(1, 1), category="weights"),
        need("beside early", 1280, phases=(0, 0), category="data"),
        need("always", 64, category="workspace"),
    ])  # fmt: skip

    sums = plan.by_category()

    assert (sums["weights"], sums["data"], sums["workspace"]) == (640, 1280, 64)
    assert sum(sums.values()) == plan.peak


def test_a_budget_one_byte_short_is_refused_in_words():
    plan = place([need("small", 64), need("huge", 6400), need("mid", 640), need("big", 3200)])

    with pytest.raises(BudgetError) as caught:
        plan.check(plan.peak - 1, "Do less.")

    assert str(caught.value) == (
        "plan needs 10,304 B, budget is 10,303 B: 1 B missing. Largest buffers: huge (6,400 B), "
        "big (3,200 B), mid (640 B). Do less."
    )
    assert (caught.value.required, caught.value.budget, caught.value.missing) == (10304, 10303, 1)


def test_a_budget_of_exactly_enough_is_accepted():
    plan = place([need("a", 100)])

    plan.check(plan.peak, "")


@pytest.mark.parametrize(
    ("stages", "phases", "words"),
    [
        ((0, END), (0, END), "always"),
        ((0, 0), (0, END), "preparation"),
        ((1, END), (0, END), "training"),
        ((3, END), (0, END), "from stage 3"),
        ((2, 2), (0, END), "layer 1's stage"),
        ((1, END), (0, 0), "training, fetch of a step"),
        ((1, END), (0, 1), "training, fetch to layer 0 of a step"),
        ((2, 2), (2, 2), "layer 1's stage, layer 1 of a step"),
    ],
)
def test_lifetimes_are_told_in_words(stages, phases, words):
    assert need("x", 1, stages, phases).life == words


def test_neighbours_take_turns_in_the_same_places_however_many_they_are():
    peaks = {
        place([need(f"layer{i}.weight", 640, phases=(i, i + 1)) for i in range(depth)]).peak
        for depth in (2, 9, 10, 11, 100, 101)
    }

    assert peaks == {2 * 640}


def test_a_width_beyond_64_bits_is_planned_and_summed():
    huge = Need("huge", TensorSpec((1 << 70,), "float32"), "weights")

    assert place([huge]).peak == most_alive([huge]) == 1 << 72
