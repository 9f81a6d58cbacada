"""Training inside the plan: one arena, one layer at a time, nothing allocated by a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from .arena import Arena
from .buffers import model_needs, plan_training
from .errors import ConfigError
from .kept_outputs import KeptOutputs
from .kernels.random import mix
from .memory import watch_allocations
from .model import Model
from .network import Network
from .plan import Plan
from .progress import Clock, Progress
from .recipe import Recipe
from .resume import Cursor, Resume
from .run import LayerRun
from .run_int8 import make_run
from .run_int8_layer import Int8Layer
from .scaling import Scaler
from .scoring import Score, score_of
from .sources import Dataset
from .sources.residency import Residency
from .streamer import Streamer
from .streaming import Streaming
from .training_file import TrainingFile

Array = np.ndarray[Any, Any]

#: Where the next step begins, the seconds of training so far, whether it is about to stop.
AfterStep = Callable[[Cursor, float, bool], None]

_NO_ROWS = np.empty(0, np.int32)

#: Updates of an epoch that share one learning rate: a run may make as many in one call, or one by
#: one, with the same bits.
HELD = 16

#: Rows between two looks at the clock while the scaler is learned.
_CHUNK = 1024


class Trainer:
    """Trains ``network`` by ``recipe`` inside ``budget`` bytes.

    Construction plans (BudgetError if it does not fit) and allocates once; from then on the
    arena is all the memory that training uses. The weights live in the arena too: ``params``
    are views of it.

    streaming, file: layers that lie in ``file`` between their turns; ``save`` makes it the model
    file. int8 weights end with the same bits as without. checkpoint: with room in the plan for
    what ``checkpointing`` remembers. boxes: functions for black boxes that came without, by title.
    """

    _residency: Residency | None = None
    _kept: KeptOutputs | None = None

    def __init__(
        self, network: Network, recipe: Recipe, *, budget: int | None = None,
        streaming: Streaming | None = None, file: TrainingFile | None = None,
        checkpoint: bool = False, boxes: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:  # fmt: skip
        if (streaming is None) != (file is None):
            raise ConfigError(
                "Trainer: expected streaming and file together, got one of them; "
                "ffedge.planner.choose says what to stream"
            )
        network = network.with_functions(boxes or {})
        self.network, self.recipe = network, recipe
        self.plan: Plan = plan_training(network, recipe, budget, streaming, checkpoint=checkpoint)
        self.arena = Arena(self.plan)
        self.file, self._streamer = file, None
        if streaming is not None and file is not None:
            self._streamer = Streamer(self.arena, file, network, recipe, streaming)
        self.run = make_run(network, self.arena, recipe, self._streamer)
        self.run.initialize()
        self.scaler = self._bind_scaler()
        self.epochs_done = 0
        #: Layers that training has begun with, from the first on.
        self.reached = 0
        #: Bytes that the last step of a stage allocated beside the arena: Python's numbers.
        self.step_bytes = 0
        #: The same of the functions of black boxes, which are no part of the plan.
        self.box_bytes = 0
        self._stopping = False

    def __getstate__(self) -> dict[str, Any]:
        run = self.run
        if self._streamer is not None:
            raise ConfigError(
                "Trainer: expected a resident one to copy, got one whose layers lie in a file; "
                "save the model instead"
            )
        return {
            "network": self.network, "recipe": self.recipe, "arena": self.arena,
            "epochs_done": self.epochs_done, "reached": self.reached,
            "samples_seen": run.samples_seen,
            "scaled": self.scaler.count, "last_active": run.last_active,
            "layers": [(layer.active, layer.updates) for layer in run.layers],
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.network, self.recipe, self.arena = state["network"], state["recipe"], state["arena"]
        self.plan = self.arena.plan
        self.run = make_run(self.network, self.arena, self.recipe)
        self.run.samples_seen, self.run.last_active = state["samples_seen"], state["last_active"]
        layers: Sequence[LayerRun | Int8Layer] = self.run.layers
        for layer, (active, updates) in zip(layers, state["layers"], strict=True):
            layer.active, layer.updates = active, updates
        self.scaler = self._bind_scaler()
        self.scaler.count = state["scaled"]
        self.epochs_done, self.step_bytes, self._stopping = state["epochs_done"], 0, False
        self.reached, self.box_bytes = state["reached"], 0
        self.file = self._streamer = None

    def _bind_scaler(self) -> Scaler:
        run = self.run
        return Scaler(self.recipe.scaling, run.mean, run.gain, self.arena["moments"])

    @property
    def params(self) -> dict[str, Array]:
        """The model's parameters, as views of the arena; of streamed layers copies of the file."""
        needs = {need.name: need.spec for need in model_needs(self.network)}
        if self._streamer is None or self.file is None:
            return {name: self.arena[name] for name in needs}
        self._streamer.flush()
        return {
            name: self.file.array(name, spec) if self._streamer.moves(name) else self.arena[name]
            for name, spec in needs.items()
        }

    def begin_with(self, params: Mapping[str, Array]) -> None:
        """Take a model's parameters, its scaler's among them, instead of random ones."""
        for name, array in params.items():
            if self._streamer is not None and self.file is not None and self._streamer.moves(name):
                self.file.write(self.file.place(name), [array.data.cast("B")])
            else:
                self.arena[name][...] = array

    @property
    def bytes_read(self) -> int:
        """Bytes of layers read from disk so far."""
        return 0 if self.file is None else self.file.bytes_read

    @property
    def bytes_written(self) -> int:
        """Bytes of layers written to disk so far."""
        return 0 if self.file is None else self.file.bytes_written

    def close(self) -> None:
        """Let threads go that stay from step to step; they come back when they are needed."""
        self.run.close()
        if self._streamer is not None:
            self._streamer.close()

    def save(self, model: Model) -> int:
        """Make the file the model file of ``model`` (its parameters are not looked at); its bytes.

        Only with streamed layers, and the end of training: the optimiser's state is cut off.
        """
        if self._streamer is None or self.file is None:
            raise ConfigError("Trainer: expected streamed layers, got none; use save_model")
        self._streamer.flush()
        self._streamer.close()
        for need in model_needs(model.network):
            if need.name in self.arena and not self._streamer.moves(need.name):
                self.file.write(self.file.place(need.name), [self.arena[need.name].data.cast("B")])
        # The scores of a batch are done with: their bytes serve to read through.
        return self.file.finish(model, self._streamer.space)

    @property
    def measured_bytes(self) -> int:
        """Bytes of the arena really in use; equals ``plan.peak``."""
        self.arena.check()
        return self.arena.measured_bytes

    def stop(self) -> None:
        """Ask ``train`` to end after the batch in hand (or the first); the weights stay valid."""
        self._stopping = True

    def learn_scaling(self, data: Dataset) -> None:
        """Learn the scaler, and the bins of a regression; before the first training stage."""
        self.network.rule.prepare(self.arena, data)
        self.arena["moments"][:] = 0.0
        self.scaler = self._bind_scaler()
        rows = _NO_ROWS if data.rows is None else data.rows
        for first in range(0, data.n_samples, _CHUNK):
            last = min(first + _CHUNK, data.n_samples)
            self.scaler.add(data.features, rows, first, last)
            self._read(data, last - first)
        self.scaler.finish()

    def adapt_scaling(self, data: Dataset, first: int, count: int) -> None:
        """Let the scaler of a stream take in samples first..first+count-1 as well."""
        rows = _NO_ROWS if data.rows is None else data.rows
        self.scaler.add(data.features, rows, first, first + count)
        self.scaler.finish()

    def train(
        self, data: Dataset, validation: Dataset | None = None, *, tick: float = 0.2,
        resume: Resume | None = None, after_step: AfterStep | None = None,
    ) -> Iterator[Progress]:  # fmt: skip
        """Run the whole recipe; yields at every epoch's end and about every ``tick`` seconds.

        data, validation: samples with labels 0..classes-1; the scaler must have been learned.
        After ``stop`` it reports the batch in hand and ends. ``evaluate`` then asks the layers
        that were ``reached``: all of them, unless a stop left some untrained in "layerwise".

        resume: a state to go on from, see ``checkpointing``. after_step: called between steps with
        the place of the next one, the seconds so far, and whether training is about to stop.
        """
        try:
            yield from self._train(data, validation, tick, resume, after_step)
        finally:
            self._stopping, self._kept, self.run.first = False, None, 0
            if self._streamer is not None:
                self._streamer.first = 0
            self._let_go()
            if self.reached == len(self.network.layers):
                self.run.use_all_layers()

    def _let_go(self) -> None:
        """Wait for a second thread and let it go; raises what went wrong there."""
        try:
            self.run.drain()
        finally:
            self.run.close()

    def _train(
        self, data: Dataset, validation: Dataset | None, tick: float, resume: Resume | None,
        after_step: AfterStep | None,
    ) -> Iterator[Progress]:  # fmt: skip
        clock = Clock(0.0 if resume is None else resume.seconds)
        begin = Cursor() if resume is None else resume.cursor
        layerwise = self.recipe.schedule == "layerwise"
        stages = [*range(len(self.network.layers))] if layerwise else [None]
        epochs = self.recipe.epochs
        samples = data.n_samples
        batch, capacity = self.recipe.batch_size, self.run.capacity
        per_epoch = -(-samples // batch)
        steps = per_epoch * epochs
        self._kept = self._keeping(data)
        for turn, stage in enumerate(stages):
            if turn < begin.turn:
                continue
            if turn > 0:
                self._keep_outputs(turn)
            self.run.begin_stage(stage)
            self.reached = max(self.reached, self.run.last_active + 1)
            if resume is not None and turn == begin.turn:
                resume.apply(self)
            for epoch in range(begin.epoch if turn == begin.turn else 0, epochs):
                order = self._order(turn * epochs + epoch)
                begins = begin.first if (turn, epoch) == (begin.turn, begin.epoch) else 0
                if begins == 0:
                    for layer in self.run.layers:
                        layer.begin_epoch()
                shown = time.perf_counter()
                for first in range(begins, samples, capacity):
                    count = min(capacity, samples - first)
                    step = epoch * per_epoch + first // batch
                    self.run.factor = self.recipe.rate_factor(step - first // batch % HELD, steps)
                    step += -(-count // batch)
                    if step == steps:
                        with watch_allocations() as watch:
                            self._step(data, first, count, order, moved=True)
                        self.step_bytes, self.box_bytes = watch.peak, watch.apart
                    else:
                        self._step(data, first, count, order, moved=True)
                    done = (turn + step / steps) / len(stages)
                    clock.step(done)
                    last = first + count == samples
                    if step == steps:
                        self.network.rule.finish(self.run, self.evaluate, validation)
                    self.epochs_done += last
                    place = Cursor(turn, epoch + last, 0 if last else first + count)
                    told = self._stopping
                    if after_step is not None:
                        after_step(place, clock.seconds, told)
                    now = time.perf_counter()
                    if not (last or self._stopping or now - shown > tick):
                        continue
                    shown = now
                    self.run.drain()
                    goodness, accuracy = self._goodness(count), None
                    if last and validation is not None:
                        accuracy = self.evaluate(validation)
                    yield self._progress(
                        turn * epochs + epoch + last, stage, done, goodness, accuracy, last, clock
                    )
                    if self._stopping:
                        if after_step is not None and not told:
                            after_step(place, clock.seconds, True)
                        return
        if resume is not None and (begin.turn, begin.epoch) == (len(stages) - 1, epochs):
            # Nothing was left to do.
            accuracy = None if validation is None else self.evaluate(validation)
            goodness = tuple(run.goodness for run in self.run.layers if run.active)
            clock.step(1.0)
            yield self._progress(self.epochs_done, stages[-1], 1.0, goodness, accuracy, True, clock)

    def _read(self, data: Dataset, count: int) -> None:
        """``count`` samples have been read: a mapped file need not stay in memory."""
        if self._residency is None or not self._residency.belongs_to(data.features):
            self._residency = Residency(data.features)
        self._residency.read_rows(count)

    def _keeping(self, data: Dataset) -> KeptOutputs | None:
        if self._streamer is None or self.file is None or not self._streamer.streaming.outputs:
            return None
        return KeptOutputs(self.run, data, self.file)

    def _keep_outputs(self, stage: int) -> None:
        """The layers below ``stage`` have learned: their outputs may be kept."""
        if self._kept is not None and self._streamer is not None:
            self._kept.keep(stage - 1)
            self.run.first = self._streamer.first = stage

    def _step(self, data: Dataset, first: int, count: int, order: int | None, moved: bool) -> None:
        if self.run.first > 0 and self._kept is not None:
            self._kept.fetch(first, count, order)
        else:
            self.run.fetch(data, first, count, shuffle=order, moved=moved)
            self._read(data, count)
        self.run.train_batch(count)
        # A counter of random numbers: kernels take 63 bits of it.
        self.run.samples_seen = (self.run.samples_seen + count) % 2**63

    def _order(self, epoch: int) -> int | None:
        """The permutation of one epoch: a seed, not a list."""
        if not self.recipe.shuffle:
            return None
        return int(mix(self.recipe.seed ^ mix(epoch + 1)))

    def _goodness(self, count: int) -> tuple[float, ...]:
        """Of each layer in training, in the batch in hand."""
        layer = self.run.layers[self.run.last_active]
        # Nobody normalises the last layer's activity: it is still there to be measured.
        layer.measure(count)
        layer.goodness = layer.mean_square(count)
        return tuple(run.goodness for run in self.run.layers if run.active)

    def _progress(
        self, epoch: int, stage: int | None, done: float, goodness: tuple[float, ...],
        validation: float | None, ended: bool, clock: Clock,
    ) -> Progress:  # fmt: skip
        layer = self.run.layers[self.run.last_active]
        epochs = self.recipe.epochs * self.recipe.stages(len(self.network.layers))
        return Progress(
            epoch, epochs, stage, done, layer.loss / max(layer.seen, 1),
            layer.right / max(layer.seen, 1), goodness, validation, self._changed(), ended,
            clock.seconds, clock.left(done), self.network.rule.numeric,
        )  # fmt: skip

    def _changed(self) -> float | None:
        layers = [layer for layer in self.run.layers if layer.active]
        offered = sum(layer.offered for layer in layers)
        return sum(layer.changed for layer in layers) / offered if offered else None

    def learn(self, data: Dataset, first: int, count: int) -> None:
        """One update from samples first..first+count-1, at the recipe's full rate.

        count: 1 to the recipe's batch size. For streams; ``run.begin_stage`` comes first.
        """
        self.run.factor = 1.0
        self._step(data, first, count, None, moved=False)
        self._let_go()

    def evaluate(self, data: Dataset) -> float:
        """Accuracy on ``data``, 0..1; of a regression R2, at most 1."""
        return self.account(data).value

    def account(self, data: Dataset) -> Score:
        """``evaluate`` with all figures."""
        score = score_of(self.network)
        with nullcontext() if self._streamer is None else self._streamer.only_reading():
            for first in range(0, data.n_samples, self.run.capacity):
                count = min(self.run.capacity, data.n_samples - first)
                self.run.fetch(data, first, count)
                self._read(data, count)
                self.run.score_batch(count)
                score.add(self.run, count)
        return score
