"""Planned against measured memory: equal on every training, larger as soon as somebody cheats."""

import gc
import json
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import clouds

from ffedge.arena import MARGIN
from ffedge.errors import BudgetError, ConfigError
from ffedge.firmware.boards import BOARDS
from ffedge.kernels import provider
from ffedge.memory import process_bytes
from ffedge.network import Network
from ffedge.optimizers import OPTIMIZERS, SGD, Adam, named_optimizer
from ffedge.plan import CATEGORIES, aligned
from ffedge.profiling.arrays import ArrayTrace, owned_bytes
from ffedge.profiling.file import check_profile, compare, load_profile, save_profile
from ffedge.profiling.fits import COMPUTERS, SYSTEM_BYTES, fits
from ffedge.profiling.measure import PROFILE_CATEGORIES, measure, profile_training, timeline
from ffedge.profiling.process import resident_bytes, split, warm_up, warm_up_described
from ffedge.profiling.watch import PassWatch
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES, Readout
from ffedge.trainer import Trainer

DATA, VALIDATION = clouds(90), clouds(30, seed=1)


def trainer_of(rule="readout", precision="float32", hidden=(20, 18), *, budget=None, **recipe):
    rule = NAMED_RULES[rule] if isinstance(rule, str) else rule
    network = Network.dense(7, hidden, 3, rule, precision=precision)
    optimizer = SGD(0.1) if precision == "int8" else Adam()
    options = {"optimizer": optimizer, "batch_size": 8, "epochs": 2} | recipe
    return Trainer(network, Recipe(**options), budget=budget)


def extra_of(trainer):
    """Bytes measured beyond the plan."""
    return measure(trainer, DATA, VALIDATION).arrays - trainer.plan.peak


@pytest.fixture(scope="module")
def profile():
    return profile_training(trainer_of(schedule="layerwise"), DATA, VALIDATION, budget=1 << 20)


# --- measured is planned ----------------------------------------------------------------------


def random_training(random):
    """A network and a recipe that go together, of any rule, precision and schedule."""
    rule = str(random.choice(list(NAMED_RULES)))
    precision = (
        "float32"
        if rule in ("hinton", "readout-frozen")
        else str(random.choice(["float32", "int8"]))
    )
    hidden = tuple(int(width) for width in random.integers(3, 40, random.integers(1, 4)))
    schedule = str(random.choice(["sweep", "layerwise"]))
    threads = 1
    if precision == "int8" and schedule == "sweep" and len(hidden) > 1:
        threads = int(random.integers(1, 3))
    name = "sgd" if precision == "int8" else str(random.choice(list(OPTIMIZERS)))
    recipe = Recipe(
        named_optimizer(name, None), batch_size=int(random.integers(1, 33)), epochs=1,
        schedule=schedule, threads=threads, seed=int(random.integers(2**32)),
        scaling=str(random.choice(["standard", "global", "none"])),
        shuffle=bool(random.integers(2)),
    )  # fmt: skip
    parts = int(random.integers(1, 3)) if precision == "int8" else 1
    network = Network.dense(7, hidden, 3, NAMED_RULES[rule], precision=precision, input_parts=parts)
    return network, recipe


def tight(network, recipe):
    """The smallest budget that this batch size fits."""
    try:
        Trainer(network, recipe, budget=1)
    except BudgetError as error:
        return error.required
    raise AssertionError("a budget of one byte was accepted")


def test_measured_is_planned_to_the_byte_on_200_random_trainings():
    random = np.random.default_rng(20)
    differences, kinds, warm = [], set(), set()
    for number in range(200):
        network, recipe = random_training(random)
        budget = tight(network, recipe) if random.integers(2) else None
        trainer = Trainer(network, recipe, budget=budget)
        validation = VALIDATION if random.integers(2) else None
        kernels = (network.rule, network.precision, recipe.optimizer)
        if kernels not in warm:
            warm.add(kernels)
            warm_up(network, recipe, DATA)

        found = measure(trainer, DATA, validation)

        kinds.add((network.rule, network.precision, recipe.schedule, recipe.threads))
        if found.arrays != trainer.plan.peak or found.touched > trainer.plan.peak:
            differences.append((number, network, recipe, found.arrays - trainer.plan.peak))
    assert not differences
    # Five rules in float32 by two schedules; three in int8, "sweep" also with two threads.
    assert len(kinds) == 5 * 2 + 3 * 3


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_a_watched_training_learns_the_same_bits(precision, schedule):
    # Also: nobody relies on what stands in the scratch before.
    plain, watched = (trainer_of(precision=precision, schedule=schedule) for _ in range(2))
    plain.learn_scaling(DATA)
    for _ in plain.train(DATA, VALIDATION):
        pass

    measure(watched, DATA, VALIDATION)

    for name, array in plain.params.items():
        assert array.tobytes() == watched.params[name].tobytes(), name


@pytest.mark.parametrize("samples", [1, 8, 9])
def test_a_training_of_one_or_two_passes_is_measured_too(samples):
    data = clouds(samples) if samples > 3 else clouds(4)
    trainer = trainer_of(epochs=1)

    found = measure(trainer, data)

    assert found.arrays == trainer.plan.peak
    assert found.watch.samples == data.n_samples
    assert 0 < found.step < 1 << 20


# --- sabotage ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hoarder(Readout):
    """Makes ``size`` bytes of arrays in every step; keeps each, or only while a layer runs."""

    size: int = 64
    kept: list | None = None

    def delta(self, run, layer, rows):
        extra = np.zeros(self.size, np.uint8)
        if self.kept is not None:
            self.kept.append(extra)
        super().delta(run, layer, rows)


@pytest.mark.parametrize("size", [64, 1000, 100_000])
def test_an_array_made_and_dropped_in_a_step_is_found(size):
    assert extra_of(trainer_of(Hoarder(size=size))) >= size


def test_arrays_kept_by_the_rule_are_found_every_one_of_them():
    kept = []
    rule = Hoarder(size=128, kept=kept)
    trainer = trainer_of(rule, epochs=3)

    extra = extra_of(trainer)

    assert extra >= sum(array.nbytes for array in kept) > 50 * 128


@dataclass(frozen=True)
class Squanderer(Readout):
    """Makes an array inside one expression, where no call can be looked at."""

    def delta(self, run, layer, rows):
        layer.delta += 0 * (layer.delta + layer.delta)
        super().delta(run, layer, rows)


def test_a_large_array_inside_one_expression_is_found():
    trainer = trainer_of(Squanderer(), hidden=(600, 600))

    assert extra_of(trainer) >= trainer.arena["layer0.delta"].nbytes


class Keeper:
    """An observer that keeps an array at one chosen moment."""

    def __init__(self, moment, at=0):
        self.moment, self.at, self.count, self.arrays = moment, at, 0, []

    def note(self, moment):
        if moment == self.moment:
            if self.count == self.at:
                self.arrays.append(np.zeros(500, np.uint8))
            self.count += 1

    def begin(self):
        self.note("begin")

    def enter(self, index):
        self.note(f"enter {index}")

    def end(self):
        self.note("end")


@pytest.mark.parametrize("moment", ["begin", "enter 0", "enter 1", "end"])
@pytest.mark.parametrize("at", [0, 1, 7])
def test_an_array_kept_by_an_observer_is_found_whenever_it_was_made(moment, at):
    trainer = trainer_of()
    keeper = trainer.run.visits = Keeper(moment, at)

    assert extra_of(trainer) == 500
    assert trainer.run.visits is keeper  # who is still told, and alone again
    assert keeper.count > 20


def test_an_array_hidden_in_the_trainer_beforehand_is_found():
    trainer = trainer_of()
    trainer.backup = {"weights": trainer.params["layer0.weight"].copy()}

    assert extra_of(trainer) == trainer.backup["weights"].nbytes


def test_an_array_made_when_a_later_stage_begins_is_found():
    hidden = []

    class Late(Readout):
        def begin(self, run, layer):
            if run.last_active == 1 and len(hidden) < 3:
                hidden.append(np.zeros(300, np.uint8))

    trainer = trainer_of(Late(), schedule="layerwise")
    hidden.clear()

    assert extra_of(trainer) >= 300


def test_the_watch_is_taken_away_when_training_fails():
    class Broken(Readout):
        def train_batch(self, run, count):
            raise RuntimeError("broken")

    trainer = trainer_of(Broken())

    with pytest.raises(RuntimeError, match="broken"):
        measure(trainer, DATA)

    assert trainer.run.visits is None
    assert not tracemalloc.is_tracing()


def test_a_measurement_inside_another_one_disturbs_nothing():
    tracemalloc.start()
    try:
        block = np.zeros(1 << 20, np.uint8)
        extra = extra_of(trainer_of())
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traced_memory()[1] >= block.nbytes
    finally:
        tracemalloc.stop()

    assert extra == 0


# --- arrays -----------------------------------------------------------------------------------


def test_owned_bytes_count_a_block_once_whatever_views_there_are():
    block = np.zeros(1000, np.uint8)
    holder = {"views": [block[10:20], block[:500].view(np.int32)], "self": {}}
    holder["self"]["loop"] = holder

    assert owned_bytes(holder) == 1000
    assert owned_bytes(holder, without=[block[3:], None]) == 0


def test_owned_bytes_of_a_trainer_are_its_arena():
    trainer = trainer_of()

    assert owned_bytes(trainer) == trainer.plan.peak + MARGIN


def test_owned_bytes_see_into_arrays_of_objects():
    inner = np.zeros(64, np.uint8)
    outer = np.array([inner, None], dtype=object)

    assert owned_bytes([outer]) == 64 + outer.nbytes


def test_a_trace_knows_arrays_from_other_objects():
    trace = ArrayTrace()
    trace.start()
    text, array = "x" * 5000, np.zeros(2000, np.uint8)
    rise = trace.look()
    trace.stop()

    assert trace.extra == array.nbytes
    assert rise > 2000
    assert len(text) == 5000
    assert not tracemalloc.is_tracing()


# --- the profile ------------------------------------------------------------------------------


def test_the_profile_says_what_was_trained(profile):
    assert (profile["network"], profile["rule"], profile["precision"]) == (
        "7-20-18-3", "readout", "float32",
    )  # fmt: skip
    assert profile["recipe"]["schedule"] == "layerwise"
    assert profile["samples"] == 2 * 2 * 90  # layers, epochs
    assert profile["steps"] == 2 * 2 * 12
    assert profile["budget"] == 1 << 20
    assert profile["seconds"] > 0
    assert profile["seconds_unwatched"] is profile["overhead_percent"] is None


def test_the_profile_is_exact_where_it_must_be(profile):
    assert profile["measured_bytes"] == profile["planned_bytes"]
    assert profile["error_percent"] == 0
    assert profile["alive_bytes"] <= profile["planned_bytes"]
    assert profile["planned_bytes"] // 2 < profile["touched_bytes"] <= profile["planned_bytes"]
    assert 0 < profile["step_bytes"] < 4096


def test_the_profile_is_json_and_survives_its_check(profile):
    assert check_profile(json.loads(json.dumps(profile))) == profile


def test_the_timeline_has_a_row_for_every_phase_of_every_stage(profile):
    rows = [(row["stage"], row["phase"], row["label"], row["layer"], row["passes"])
            for row in profile["timeline"]]  # fmt: skip

    assert rows == [
        (0, 0, "scaler", None, 1),
        (1, 0, "fetch", None, 24), (1, 1, "layer 0", 0, 24),
        (2, 0, "fetch", None, 24), (2, 1, "layer 0", 0, 24), (2, 2, "layer 1", 1, 24),
    ]  # fmt: skip


def test_the_timeline_sums_what_the_plan_says_is_alive():
    trainer = trainer_of(schedule="layerwise")
    rows = timeline(trainer, measure(trainer, DATA))

    for row in rows:
        alive = dict.fromkeys(CATEGORIES, 0)
        for buffer in trainer.plan.buffers:
            (a, b), (c, d) = buffer.need.stages, buffer.need.phases
            if a <= row["stage"] <= b and c <= row["phase"] <= d:
                alive[buffer.category] += aligned(buffer.spec.nbytes)
        assert row["bytes"] == alive | {"runtime": row["bytes"]["runtime"]}
    assert rows[1]["bytes"]["optimizer state"] > rows[0]["bytes"]["optimizer state"] == 0


def test_seconds_of_the_phases_are_those_of_the_training():
    trainer = trainer_of(hidden=(300, 300), batch_size=32, epochs=20)
    warm_up(trainer.network, trainer.recipe, DATA)

    found = measure(trainer, DATA)

    spent = sum(found.watch.stages[1].nanoseconds) / 1e9
    assert 0.4 * found.seconds < spent <= found.seconds


def test_scoring_passes_are_not_counted_as_training():
    trainer = trainer_of()

    with_scoring = measure(trainer, DATA, VALIDATION).watch
    without = measure(trainer, DATA).watch

    assert with_scoring.stages[1].passes == without.stages[1].passes == 24
    assert with_scoring.samples == without.samples == 180


def test_two_threads_are_told_apart():
    trainer = trainer_of(precision="int8", threads=2, epochs=3)

    found = measure(trainer, DATA, VALIDATION)

    record = found.watch.stages[1]
    assert all(spent > 0 for spent in record.nanoseconds)
    assert trainer.run.visits is None


def test_runtime_is_what_python_makes_and_little(profile):
    rows = profile["timeline"][1:]

    assert all(row["bytes"]["runtime"] < 4096 for row in rows)
    assert any(row["bytes"]["runtime"] > 0 for row in rows)
    assert profile["categories"] == list(PROFILE_CATEGORIES)


def test_an_unbounded_lifetime_is_written_as_null(profile):
    buffers = {buffer["name"]: buffer for buffer in profile["buffers"]}

    assert buffers["layer0.weight"]["stages"] == [0, None]
    assert buffers["layer1.delta"]["phases"] == [2, 2]
    assert buffers["layer0.weight"]["lifetime"] == "always"


def test_the_overhead_is_measured_when_asked():
    found = profile_training(trainer_of(epochs=1), DATA, measure_overhead=True)

    assert found["seconds_unwatched"] > 0
    assert found["overhead_percent"] > -100


def test_progress_is_handed_on():
    seen = []

    profile_training(trainer_of(), DATA, on_progress=seen.append)

    assert [progress.epoch for progress in seen if progress.epoch_ended] == [1, 2]


def test_nothing_of_a_profile_stays_alive():
    trainer = trainer_of()
    measure(trainer, DATA)
    gc.collect()

    assert owned_bytes(trainer, without=[DATA.features, DATA.labels]) == (
        trainer.plan.peak + MARGIN
    )


def test_a_watch_of_an_unfinished_stage_keeps_what_it_saw():
    trainer = trainer_of()
    trainer.learn_scaling(DATA)
    watch = PassWatch(trainer, 100)
    watch.install()

    trainer.run.begin_stage(None)
    trainer.learn(DATA, 0, 8)
    trainer.learn(DATA, 8, 4)
    watch.remove()

    assert (watch.samples, watch.steps, watch.stages[1].passes) == (12, 2, 2)


# --- process and boards -----------------------------------------------------------------------


def test_the_process_is_split_without_a_rest(profile):
    process = profile["process"]
    shares = [process[n] for n in ("interpreter", "numpy", "kernels", "ffedge", "training")]

    assert process["kernels_by"] == provider.NAME
    assert all(share >= 0 for share in shares)
    if process_bytes():
        assert min(shares[:2]) > 1 << 20
        assert sum(shares) >= process["peak"]


def test_without_proc_the_split_is_zero(monkeypatch):
    monkeypatch.setattr("ffedge.profiling.process.process_bytes", lambda: 0)
    trainer = trainer_of()

    shares = resident_bytes(trainer.network, trainer.recipe, DATA)

    assert set(shares.values()) == {0}
    assert split(shares, 5)["training"] == 0


def test_a_process_that_fails_is_no_error(monkeypatch):
    monkeypatch.setattr("ffedge.profiling.process.sys.executable", "/nowhere/python")
    trainer = trainer_of()

    assert set(resident_bytes(trainer.network, trainer.recipe, DATA).values()) == {0}


def test_the_process_split_is_measured_apart_from_this_process():
    if not process_bytes():
        pytest.skip("this system does not tell")
    trainer = trainer_of()

    before = resident_bytes(trainer.network, trainer.recipe, DATA)
    block = np.ones(64 << 20, np.uint8)
    after = resident_bytes(trainer.network, trainer.recipe, DATA)

    for name, count in before.items():
        assert after[name] == pytest.approx(count, abs=16 << 20), name
    assert block.nbytes > sum(abs(after[name] - before[name]) for name in before)


def test_kernels_are_warm_after_a_warm_up():
    trainer = trainer_of("hinton")
    warm_up(trainer.network, trainer.recipe, DATA)

    found = measure(trainer, DATA)

    # Compiling one kernel alone would make a hundred times as much.
    assert found.step < 8192


def test_random_data_stand_in_for_the_real_ones_in_another_process(monkeypatch):
    trainer = trainer_of(precision="int8", batch_size=4)
    seen = []
    monkeypatch.setattr("ffedge.profiling.process.warm_up", lambda *given: seen.append(given))
    told = {
        "network": trainer.network.describe(), "recipe": trainer.recipe.describe(),
        "samples": 90, "dtype": "float32",
    }  # fmt: skip

    warm_up_described(json.dumps(told))

    network, recipe, data = seen[0]
    assert (network, recipe) == (trainer.network, trainer.recipe)
    assert (data.n_samples, data.width, data.features.dtype) == (8, 7, np.float32)


def test_every_board_and_computer_is_judged():
    trainer = trainer_of(precision="int8")

    rows = fits(trainer.network, trainer.recipe, 100 << 20)

    assert {row["name"] for row in rows} == set(BOARDS) | {name for name, *_ in COMPUTERS}
    judged = {row["name"]: row for row in rows}
    assert judged["nrf52840"]["fits"]
    assert 0 < judged["nrf52840"]["needed_bytes"] < judged["nrf52840"]["memory_bytes"]
    assert not judged["rp2040"]["fits"]
    assert "no floats" in judged["rp2040"]["note"]


def test_what_a_board_lacks_is_said():
    network = Network.dense(784, (500, 500), 10, precision="int8")

    rows = {row["name"]: row for row in fits(network, Recipe(SGD(0.1)), 100 << 20)}

    assert "of RAM missing" in rows["stm32l476"]["note"]
    assert not rows["stm32l476"]["fits"]


def test_float32_fits_no_board_and_says_why():
    trainer = trainer_of()

    rows = [row for row in fits(trainer.network, trainer.recipe, 1) if row["name"] in BOARDS]

    assert not any(row["fits"] for row in rows)
    assert all(row["needed_bytes"] is None and "int8" in row["note"] for row in rows)


@pytest.mark.parametrize(("more", "fit"), [(0, True), (1, False)])
def test_a_computer_fits_to_the_last_byte(more, fit):
    trainer = trainer_of()
    name, _, memory = COMPUTERS[0]

    rows = fits(trainer.network, trainer.recipe, memory - SYSTEM_BYTES + more)

    assert next(row for row in rows if row["name"] == name)["fits"] is fit


# --- files ------------------------------------------------------------------------------------


def test_a_saved_profile_is_read_back(profile, tmp_path):
    save_profile(profile, tmp_path / "p.json")

    assert load_profile(tmp_path / "p.json") == profile


def changed(profile, path, value):
    """A copy with one field set, by its dotted path; ``KeyError`` deletes it."""
    copy = json.loads(json.dumps(profile))
    *way, last = path.split(".")
    place = copy
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return copy


WRONG = [
    ("format", 2, "expected a profile of format 1, got 2"),
    ("format", True, "expected a profile of format 1, got True"),
    ("measured_bytes", KeyError, "measured_bytes: expected a value, got none"),
    ("measured_bytes", -1, "measured_bytes: expected a whole number"),
    ("measured_bytes", True, "measured_bytes: expected a whole number"),
    ("measured_bytes", 1.5, "measured_bytes: expected a whole number"),
    ("measured_bytes", 10**4000, "measured_bytes: expected a whole number"),
    ("planned_bytes", 0, "planned_bytes: expected at least 1"),
    ("process", None, "process: expected an object"),
    ("process.peak", "much", "process.peak: expected a whole number"),
    ("timeline", [], "timeline: expected at least one row"),
    ("timeline", {}, "timeline: expected at least one row"),
    ("timeline.0.seconds", "long", r"timeline\[0\].seconds: expected a finite number"),
    ("timeline.1.bytes", {}, r"timeline\[1\].bytes: expected every category once"),
    ("timeline.1.bytes.weights", -5, r"timeline\[1\].bytes.weights: expected a whole"),
    ("buffers.0.stages", [0], r"buffers\[0\].stages: expected first and last"),
    ("buffers.0.shape", [1] * 17, r"buffers\[0\].shape: expected a list of at most 16"),
    ("buffers.0.name", "x" * 20_000, r"buffers\[0\].name: expected a text of at most"),
    ("fits.0.fits", 1, r"fits\[0\].fits: expected true or false"),
    ("recipe", [], "recipe: expected an object"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), WRONG)
def test_a_wrong_profile_is_refused_by_its_field(profile, path, value, words):
    with pytest.raises(ConfigError, match=words):
        check_profile(changed(profile, path, value))


CONTENTS = {
    "nothing": b"", "no JSON": b"profile", "a list": b"[1]", "null": b"null",
    "bytes": b"\xff\xfe\x00",
    "too deep": b"[" * 100_000, "not a number": b'{"format": NaN}',
    "a number too long": b'{"format": ' + b"9" * 10_000 + b"}", "another object": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTENTS)
def test_any_other_file_is_refused_with_its_name(tmp_path, kind):
    (tmp_path / "odd.json").write_bytes(CONTENTS[kind])

    with pytest.raises(ConfigError, match=r"odd\.json: expected"):
        load_profile(tmp_path / "odd.json")


def test_a_missing_file_a_folder_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"none\.json: expected a profile, got No such file"):
        load_profile(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="expected a profile, got Is a directory"):
        load_profile(tmp_path)
    monkeypatch.setattr("ffedge.profiling.file.MAX_BYTES", 10)
    (tmp_path / "huge.json").write_bytes(b" " * 11)
    with pytest.raises(ConfigError, match="got more than 10 B"):
        load_profile(tmp_path / "huge.json")


def with_measured(profile, count):
    return profile | {"measured_bytes": count}


@pytest.mark.parametrize(("now", "grew"), [(1030, False), (1031, True), (900, False)])
def test_the_peak_may_grow_by_what_is_allowed(profile, now, grew):
    found = compare(with_measured(profile, now), with_measured(profile, 1000), 3.0)

    assert found["grew"] is grew
    assert found["measured"]["old"] == 1000
    assert found["measured"]["new"] == now
    assert found["measured"]["grown_percent"] == pytest.approx((now - 1000) / 10)


def test_only_the_measured_training_peak_decides(profile):
    larger = changed(profile, "process.peak", 10 * profile["process"]["peak"] + 1)
    larger["planned_bytes"] *= 2

    found = compare(larger, profile, 0.0)

    assert not found["grew"]
    assert found["planned"]["grown_percent"] == 100.0
    assert found["process"]["new"] > found["process"]["old"]


def test_a_comparison_says_what_is_not_comparable(profile):
    assert compare(profile, profile, 0.0)["differs"] == []

    other = profile | {"precision": "int8", "recipe": {}}

    assert compare(other, profile, 0.0)["differs"] == ["precision", "recipe"]
