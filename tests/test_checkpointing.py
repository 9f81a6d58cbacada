"""When checkpoints are due, what they may write, and that a run goes on with the same bits."""

import dataclasses
import time

import numpy as np
import pytest
from conftest import clouds
from test_streamer import network_of, recipe_of

from ffedge.buffers import plan_training
from ffedge.checkpointing import Checkpoints, Every, WriteLimit
from ffedge.errors import CheckpointError, ConfigError
from ffedge.recipe import SCHEDULES
from ffedge.resume import Cursor, fingerprint
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer

CASES = [
    ("int8", "readout", "sgd"), ("int8", "group", "sgd"), ("float32", "readout", "adam"),
    ("float32", "hinton", "momentum"), ("float32", "readout-frozen", "sgd"),
]  # fmt: skip


class Cut(Exception):  # noqa: N818
    """The power goes."""


def run(folder, data, network, recipe, *, cut_after=None, steps=1, limit=None):
    """Train from whatever state there is; ``cut_after`` so many steps the power goes."""
    trainer = Trainer(network, recipe, checkpoint=True)
    run_id = fingerprint(network, recipe, data, None, trainer.run.capacity)
    kept = Checkpoints(
        str(folder),
        trainer,
        data.n_samples,
        run_id,
        "clouds",
        every=Every(steps=steps),
        limit=limit,
    )
    resume = kept.resume()
    if resume is None:
        trainer.learn_scaling(data)
    made = 0

    def after_step(*place):
        nonlocal made
        kept.after_step(*place)
        made += 1
        if made == cut_after:
            raise Cut

    *_, progress = trainer.train(data, data, resume=resume, after_step=after_step, tick=0.0)
    return trainer, progress, kept


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("precision", "rule", "optimizer"), CASES)
def test_a_run_cut_again_and_again_ends_with_the_same_bits(
    tmp_path, precision, rule, optimizer, schedule, batch_size
):
    data = clouds(50, 9, 3)
    network, recipe = network_of(precision, rule), recipe_of(optimizer, schedule, batch_size)
    whole, progress, _ = run(tmp_path / "a", data, network, recipe)

    cuts = 0
    (tmp_path / "b").mkdir()
    for cut_after in [1, 2, 3, 5, 1, 1, 4, 7, 2, *[9] * 99]:
        try:
            trainer, last, kept = run(
                tmp_path / "b", data, network, recipe, cut_after=cut_after, steps=2
            )
        except Cut:
            cuts += 1
        else:
            break

    assert cuts >= 3
    assert kept.resumed is not None
    for name, array in whole.params.items():
        assert trainer.params[name].tobytes() == array.tobytes(), name
    same = ("epoch", "epochs", "layer", "done", "loss", "accuracy", "validation", "changed")
    for field in same:
        assert getattr(last, field) == getattr(progress, field), field
    assert trainer.evaluate(data) == whole.evaluate(data)
    assert trainer.measured_bytes == trainer.plan.peak


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "a").mkdir()


def test_a_finished_state_has_nothing_left_to_do(tmp_path):
    data = clouds(50, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    whole, first, _ = run(tmp_path / "a", data, network, recipe)

    trainer, last, kept = run(tmp_path / "a", data, network, recipe)

    assert (last.done, last.epoch_ended, last.epoch) == (1.0, True, first.epoch)
    assert last.validation == first.validation
    assert kept.saves == 0
    for name, array in whole.params.items():
        assert trainer.params[name].tobytes() == array.tobytes(), name


def test_the_marks_are_in_the_plan():
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    plan = plan_training(network, recipe, checkpoint=True)
    (marks,) = [buffer for buffer in plan.buffers if buffer.name == "checkpoint.marks"]

    weights = sum(b.spec.nbytes for b in plan.buffers if b.category == "weights")
    assert weights / 1024 <= marks.spec.nbytes / 8 <= weights / 1024 + 20
    assert plan.peak - plan_training(network, recipe).peak <= marks.spec.nbytes + 64


def test_layers_on_disk_and_checkpoints_are_refused_together():
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")

    with pytest.raises(ConfigError, match="expected all layers in memory where checkpoints"):
        plan_training(network, recipe, None, Streaming.of(network), checkpoint=True)


def kept_of(folder, data, recipe, **options):
    network = network_of("int8", "readout")
    trainer = Trainer(network, recipe, checkpoint=True)
    run_id = fingerprint(network, recipe, data, None, trainer.run.capacity)
    return Checkpoints(
        str(folder), trainer, data.n_samples, run_id, "clouds", every=Every(steps=1), **options
    )  # fmt: skip


@pytest.mark.parametrize("change", ["data", "recipe", "rows"])
def test_the_state_of_another_run_is_refused(tmp_path, change):
    data, recipe = clouds(50, 9, 3), recipe_of("sgd", "sweep")
    run(tmp_path / "a", data, network_of("int8", "readout"), recipe)
    if change == "data":
        data = clouds(50, 9, 3, seed=1)
    elif change == "recipe":
        recipe = dataclasses.replace(recipe, seed=7)
    else:
        data = data.split(0.2, 0)[0]

    with pytest.raises(CheckpointError, match="expected a state of this run"):
        kept_of(tmp_path / "a", data, recipe).resume()


def test_going_on_from_nothing_is_refused_if_one_must(tmp_path):
    kept = kept_of(tmp_path / "a", clouds(50, 9, 3), recipe_of("sgd", "sweep"))

    assert kept.resume() is None
    with pytest.raises(CheckpointError, match="expected a state to go on from, got none"):
        kept.resume(must=True)


@pytest.mark.parametrize(
    "cursor", [[0, 0, 50], [1, 0, 0], [0, 3, 0], [0, 0, 3], [0, 2, 16], [-1, 0, 0], [0, 0], None,
               ["0", 0, 0], [0.0, 0, 0]]
)  # fmt: skip
def test_a_place_outside_the_run_is_refused(tmp_path, cursor):
    data, recipe = clouds(50, 9, 3), recipe_of("sgd", "sweep")
    run(tmp_path / "a", data, network_of("int8", "readout"), recipe)
    kept = kept_of(tmp_path / "a", data, recipe)
    facts = kept.store.peek() | {"cursor": cursor}
    kept.store.peek = lambda: facts

    with pytest.raises(CheckpointError, match="expected a place inside this run"):
        kept.resume()


def test_a_save_is_due_after_so_many_steps_or_seconds(tmp_path):
    data = clouds(160, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    _, _, every = run(tmp_path / "a", data, network, recipe, steps=4)
    assert every.saves == 20 // 4

    now = [0.0]
    trainer = Trainer(network, recipe, checkpoint=True)
    kept = Checkpoints(
        str(tmp_path / "a"), trainer, data.n_samples, "x", "clouds", every=Every(seconds=10.0),
        clock=lambda: now[0],
    )  # fmt: skip
    saved = []
    trainer.learn_scaling(data)

    def after_step(*place):
        now[0] += 3.0
        kept.after_step(*place)
        saved.append(kept.saves)

    for _ in trainer.train(data, after_step=after_step):
        pass

    # Every fourth step of three seconds is the first at or after ten.
    assert saved == [step // 4 for step in range(1, 21)]


def test_a_limit_on_writes_puts_saves_off(tmp_path):
    data = clouds(160, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")

    _, _, kept = run(
        tmp_path / "a", data, network, recipe, limit=WriteLimit.parse("1KB/day")
    )  # fmt: skip

    assert (kept.saves, kept.put_off) == (1, 19)


def test_a_disk_that_refuses_does_not_stop_the_training(tmp_path, monkeypatch):
    data = clouds(160, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    whole, _, _ = run(tmp_path / "a", data, network, recipe)
    from ffedge.disk import DiskFile

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DiskFile, "write", full)
    (tmp_path / "b").mkdir()
    trainer, _, kept = run(tmp_path / "b", data, network, recipe)

    assert (kept.saves, kept.failed, kept.failure) == (0, 20, "No space left on device")
    assert kept.describe()["failure"] == "No space left on device"
    for name, array in whole.params.items():
        assert trainer.params[name].tobytes() == array.tobytes(), name
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("text", ["", "60", "0s", "5 min", "-3s", "1.5steps", "x"])
def test_an_interval_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected a time or steps, such as 60s"):
        Every.parse(text)


@pytest.mark.parametrize("text", ["50MB", "50MB/", "50MB/week", "x/day"])
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected "):
        WriteLimit.parse(text)


def test_intervals_and_limits_are_read():
    assert Every.parse("1h") == Every(seconds=3600.0)
    assert Every.parse("1step") == Every(steps=1)
    assert WriteLimit.parse("1MiB/h") == WriteLimit(1 << 20, 3600.0)


def test_a_fingerprint_tells_runs_apart_and_is_the_same_for_the_same():
    data, network = clouds(50, 9, 3), network_of("int8", "readout")
    recipe = recipe_of("sgd", "sweep")
    one = fingerprint(network, recipe, data, None, 16)

    assert one == fingerprint(network, recipe, clouds(50, 9, 3), None, 16)
    others = [
        fingerprint(network, recipe, clouds(50, 9, 3, seed=1), None, 16),
        fingerprint(network, recipe, data, data, 16),
        fingerprint(network, dataclasses.replace(recipe, epochs=3), data, None, 16),
        fingerprint(network_of("int8", "group"), recipe, data, None, 16),
        fingerprint(network, recipe, data, None, 32),
    ]
    assert len({one, *others}) == 6


def test_saving_allocates_nothing_in_proportion_to_the_state(tmp_path):
    from conftest import measured_allocations

    data = clouds(64, 9, 3)
    network = network_of("int8", "readout", (600, 600))
    recipe = recipe_of("sgd", "sweep")
    trainer = Trainer(network, recipe, checkpoint=True)
    kept = Checkpoints(
        str(tmp_path / "a"), trainer, data.n_samples, "x", "clouds", every=Every(steps=1)
    )
    trainer.learn_scaling(data)
    peaks = []

    def after_step(*place):
        with measured_allocations() as measured:
            kept.after_step(*place)
        peaks.append(measured.peak)

    for _ in trainer.train(data, after_step=after_step):
        pass

    state = sum(array.nbytes for array in trainer.params.values())
    assert len(peaks) == 8
    assert max(peaks) < 0.5 * state


def test_the_arrays_survive_exactly(tmp_path):
    data = clouds(50, 9, 3)
    network, recipe = network_of("float32", "readout"), recipe_of("adam", "sweep")
    trainer, _, _ = run(tmp_path / "a", data, network, recipe)
    again = Trainer(network, recipe, checkpoint=True)
    run_id = fingerprint(network, recipe, data, None, again.run.capacity)
    kept = Checkpoints(
        str(tmp_path / "a"), again, data.n_samples, run_id, "clouds", every=Every(steps=1)
    )
    resume = kept.resume()
    again.run.begin_stage(None)
    resume.apply(again)

    for buffer in trainer.plan.buffers:
        if buffer.category in ("weights", "optimizer state"):
            one, other = trainer.arena[buffer.name], again.arena[buffer.name]
            assert np.array_equal(one, other), buffer.name


def test_a_state_of_a_megabyte_is_taken_up_in_half_a_second(tmp_path):
    data = clouds(64, 9, 3)
    network, recipe = network_of("int8", "readout", (700, 1300)), recipe_of("sgd", "sweep")
    trainer, _, _ = run(tmp_path / "a", data, network, recipe)
    again = Trainer(network, recipe, checkpoint=True)
    run_id = fingerprint(network, recipe, data, None, again.run.capacity)
    every = Every(steps=1)
    kept = Checkpoints(str(tmp_path / "a"), again, 64, run_id, "clouds", every=every)

    started = time.perf_counter()
    kept.resume().apply(again)
    seconds = time.perf_counter() - started

    assert sum(array.nbytes for array in trainer.params.values()) > 900_000
    assert seconds < 0.5


def test_a_stop_that_comes_while_progress_is_shown_is_saved_too(tmp_path):
    data = clouds(160, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    whole, _, _ = run(tmp_path / "a", data, network, recipe)
    (tmp_path / "b").mkdir()
    trainer = Trainer(network, recipe, checkpoint=True)
    run_id = fingerprint(network, recipe, data, None, trainer.run.capacity)
    kept = Checkpoints(
        str(tmp_path / "b"), trainer, 160, run_id, "clouds", every=Every(steps=1000)
    )  # fmt: skip
    trainer.learn_scaling(data)
    for _ in trainer.train(data, after_step=kept.after_step, tick=float("inf")):
        trainer.stop()

    assert kept.saves == 1
    resumed, _, again = run(tmp_path / "b", data, network, recipe)
    assert (again.resumed.epoch, again.resumed.first) == (1, 0)
    for name, array in whole.params.items():
        assert resumed.params[name].tobytes() == array.tobytes(), name


def test_a_run_whose_loss_is_no_number_is_resumed_all_the_same(tmp_path):
    data = clouds(50, 9, 3)
    network, recipe = network_of("float32", "readout"), recipe_of("sgd", "sweep")
    trainer = Trainer(network, recipe, checkpoint=True)
    run_id = fingerprint(network, recipe, data, None, trainer.run.capacity)
    kept = Checkpoints(
        str(tmp_path / "a"), trainer, 50, run_id, "clouds", every=Every(steps=1)
    )  # fmt: skip
    trainer.run.begin_stage(None)
    trainer.run.layers[0].loss = float("nan")
    kept.save(Cursor(0, 0, 16), 1.0)

    resume = kept.resume()
    trainer.run.layers[0].loss = 0.0
    resume.apply(trainer)

    assert np.isnan(trainer.run.layers[0].loss)


def test_accounts_that_are_no_numbers_are_refused(tmp_path):
    data, recipe = clouds(50, 9, 3), recipe_of("sgd", "sweep")
    run(tmp_path / "a", data, network_of("int8", "readout"), recipe)
    kept = kept_of(tmp_path / "a", data, recipe)
    facts = kept.store.peek()
    facts["layers"][1][0] = "7"
    kept.store.peek = lambda: facts

    with pytest.raises(CheckpointError, match="expected a place inside this run"):
        kept.resume()
