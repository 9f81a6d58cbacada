"""The marker ``ffedge_memory``: which arenas count, when a test fails, what it costs others."""

import gc
import subprocess
import sys

import pytest
from checks import child_environment

from ffedge.arena import Arena
from ffedge.network import Network
from ffedge.pytest_plugin import ArenaWatch
from ffedge.recipe import Recipe
from ffedge.trainer import Trainer

pytest_plugins = ["pytester"]

USUAL = """
import pytest
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.trainer import Trainer

NETWORK, RECIPE = Network.dense(64, (32,), 10), Recipe(batch_size=8)
ONE = Trainer(NETWORK, RECIPE).plan.peak

def make():
    return Trainer(NETWORK, RECIPE)

"""


def run(pytester, text, *words):
    """The result of a test file of a user's, with the plugin and none of this project's options."""
    pytester.makepyfile(USUAL + text)
    return pytester.runpytest(
        "-p", "ffedge.pytest_plugin", "-p", "no:cacheprovider", "--strict-markers", *words
    )


def small():
    return Trainer(Network.dense(8, (4,), 2), Recipe(batch_size=2))


def test_a_training_within_the_limit_passes_to_the_byte(pytester):
    result = run(pytester, "@pytest.mark.ffedge_memory(ONE)\ndef test_it():\n    make()\n")

    result.assert_outcomes(passed=1)


def test_a_training_one_byte_over_the_limit_fails_with_the_figures(pytester):
    result = run(pytester, "@pytest.mark.ffedge_memory(ONE - 1)\ndef test_it():\n    make()\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ffedge_memory: expected at most *, got *: 1 B too much.*"])
    assert "Traceback" not in result.stdout.str()


TWO = {
    "together": ("a, b = make(), make()", 1),
    "one after the other": ("a = make(); del a; b = make()", 0),
    "one whose weights are kept": ("a = make().params; b = make()", 1),
}


@pytest.mark.parametrize("case", TWO)
def test_arenas_count_while_they_live(pytester, case):
    code, failed = TWO[case]

    result = run(pytester, f"@pytest.mark.ffedge_memory(2 * ONE - 1)\ndef test_it():\n    {code}\n")

    result.assert_outcomes(failed=failed, passed=1 - failed)


def test_fixtures_of_the_test_count_and_earlier_arenas_do_not(pytester):
    result = run(pytester, """
EARLIER = make()

@pytest.fixture
def trainer():
    return make()

@pytest.mark.ffedge_memory(ONE)
def test_fits(trainer):
    assert EARLIER.plan.peak == ONE

@pytest.mark.ffedge_memory("1KiB")
def test_does_not_fit(trainer):
    pass
""")  # fmt: skip

    result.assert_outcomes(passed=1, failed=1)


def test_a_class_and_other_tests_are_marked_as_pytest_does_it(pytester):
    result = run(pytester, """
@pytest.mark.ffedge_memory("1KiB")
class TestAll:
    def test_one(self):
        make()

    @pytest.mark.ffedge_memory("64MiB")
    def test_two(self):
        make()

def test_unmarked():
    make()
""")  # fmt: skip

    result.assert_outcomes(passed=2, failed=1)


def test_a_test_that_fails_on_its_own_keeps_its_reason(pytester):
    result = run(pytester, """
@pytest.mark.ffedge_memory(1)
def test_it():
    make()
    assert "my own reason" == ""
""")  # fmt: skip

    result.assert_outcomes(failed=1)
    assert "my own reason" in result.stdout.str()
    assert "expected at most" not in result.stdout.str()


@pytest.mark.parametrize("limit", ["", "'lots'", "1, 2", "None", "2.5", "0", "True"])
def test_a_limit_that_is_none_fails_in_words(pytester, limit):
    result = run(pytester, f"@pytest.mark.ffedge_memory({limit})\ndef test_it():\n    make()\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ffedge_memory: *expected *"])


def test_the_marker_is_listed(pytester):
    result = pytester.runpytest("-p", "ffedge.pytest_plugin", "--markers")

    result.stdout.fnmatch_lines(["@pytest.mark.ffedge_memory(limit):*"])


def test_loading_the_plugin_loads_neither_numpy_nor_numba():
    code = (
        "import sys, ffedge.pytest_plugin\n"
        "print(sorted({'numpy', 'numba', 'ffedge.arena'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=child_environment(),
    )  # fmt: skip

    assert done.stdout == "[]\n"


def test_a_watch_counts_the_most_and_leaves_arenas_as_they_were():
    original, watch = Arena.__init__, ArenaWatch()

    watch.start()
    first = small()
    size = first.plan.peak
    second = small()
    del first
    third = small()
    watch.stop()

    assert Arena.__init__ is original
    assert (watch.peak, watch.now) == (2 * size, 2 * size)
    assert watch.largest == [size, size]
    del second, third
    gc.collect()
    assert watch.now == 0


def test_arenas_made_after_a_watch_do_not_count():
    watch = ArenaWatch()
    watch.start()
    watch.stop()
    watch.stop()

    small()

    assert watch.peak == 0
