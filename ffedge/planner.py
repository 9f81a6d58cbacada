"""From a budget to a plan: what to change, what stays in memory, what lies on disk, what it costs.

Everything in memory, all layers in one sweep, at the batch size asked for, is the fastest. What
does not fit is made to fit by smaller batches, by training layer by layer (one layer's optimiser
state), by layers on disk and, for a layer that is too large alone, by slices of its units.
``choose`` takes the fastest of these by its own prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .buffers import ADVICE, check_training, kept_state, parameters, plan_training, training_needs
from .errors import BudgetError
from .network import Network
from .plan import Plan, most_alive, place
from .recipe import Recipe
from .streaming import Streaming, bounds
from .tensor import panels
from .units import short_bytes

#: A smaller batch is tried only where larger ones are predicted to take this much longer.
PATIENCE = 1.25


@dataclass(frozen=True, slots=True)
class Pace:
    """What a machine does in a second, for predictions only: about one core of a current PC.

    float32, int8: multiply-adds. disk: bytes read or written, here as from the system's own
    cache; an SD card that the cache does not help takes about 40e6. call: seconds that a step of
    one layer takes whatever its size. ``tools/bench_streaming.py`` sets predictions beside
    measured times.
    """

    float32: float = 60e9
    int8: float = 200e9
    disk: float = 8e9
    call: float = 20e-6


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan with what it took.

    recipe: the one asked for, or another of those allowed. streaming: None if all is resident.
    reads, writes: bytes of layers that move in an average step. slowdown: predicted time over that
    of the recipe asked for with everything in memory. least: the smallest budget in bytes that
    would work, with any of the recipes. checkpoint: whether the plan has room for checkpoints.
    """

    network: Network
    recipe: Recipe
    streaming: Streaming | None
    plan: Plan
    reads: int
    writes: int
    slowdown: float
    least: int
    checkpoint: bool = False

    def describe(self) -> dict[str, Any]:
        """JSON types; all sizes in bytes."""
        streaming = self.streaming
        return {
            "batch_size": self.recipe.batch_size,
            "schedule": self.recipe.schedule,
            "streamed_layers": 0 if streaming is None else sum(map(bool, streaming.panels)),
            "panels": None if streaming is None else list(streaming.panels),
            "read_ahead": streaming is not None and streaming.ahead,
            "write_behind": streaming is not None and streaming.behind,
            "outputs_on_disk": streaming is not None and streaming.outputs,
            "step_reads": self.reads,
            "step_writes": self.writes,
            "slowdown": round(self.slowdown, 3),
            "least_budget": self.least,
        }

    def words(self, asked: Recipe) -> list[str]:
        """What is done to keep the budget, in a few sentences; ``asked``: as was wished."""
        found = []
        recipe, streaming, depth = self.recipe, self.streaming, len(self.network.layers)
        if recipe.batch_size != asked.batch_size:
            found.append(f"batches of {recipe.batch_size} instead of {asked.batch_size}")
        if recipe.schedule != asked.schedule:
            found.append("layer by layer instead of all in one sweep")
        if streaming is not None:
            away = [i for i in range(depth) if streaming.streams(i)]
            sliced = [i for i in away if streaming.slices(self.network, i)]
            text = f"{len(away)} of {depth} layers on disk between their turns"
            if sliced:
                least = min(streaming.panels[i] for i in sliced)
                text += f", {len(sliced)} of them trained {16 * least} units at a time"
            if streaming.ahead:
                both = ", written one behind" if streaming.behind else ""
                text += f", read one layer ahead{both}"
            found.append(text)
            if streaming.outputs:
                found.append("outputs of finished layers kept on disk in 8 bits")
            if self.reads or self.writes:
                read, written = short_bytes(self.reads), short_bytes(self.writes)
                found.append(f"{read} read and {written} written in a step")
        if found:
            found.append(f"predicted to take {self.slowdown:.1f} x as long as with enough memory")
        return found


def choose(
    network: Network, recipes: Sequence[Recipe], budget: int | None = None, *,
    stream: bool = True, outputs: bool = False, checkpoint: bool = False,
    pace: Pace | None = None,
) -> Choice:  # fmt: skip
    """The plan within ``budget`` bytes that is predicted to be fastest.

    recipes: the one asked for, then others that may be taken instead, in order of preference.
    stream: layers may lie on disk. outputs: so may what finished layers put out, in layerwise.
    checkpoint: with room for checkpoints, which want all layers in memory.
    Raises BudgetError, which names the smallest budget that works, and ConfigError for what
    cannot be trained at all.
    """
    asked, pace = recipes[0], pace or Pace()
    check_training(network, asked)
    if network.rule.no_layerwise:
        recipes = [recipe for recipe in recipes if recipe.schedule != "layerwise"]
    stream = stream and not checkpoint and not network.rule.no_streaming
    if budget is None:
        plan = plan_training(network, asked, checkpoint=checkpoint)
        least = _least(network, recipes, stream, checkpoint)
        return Choice(network, asked, None, plan, 0, 0, 1.0, least, checkpoint)
    reference = _Cost(network, asked, None, pace).seconds
    # Placing takes more than what is alive: where all that seemed to fit does not, nothing is
    # too slow to be tried.
    for patience in (PATIENCE, 0.0):
        options: list[tuple[float, int, Recipe, _Way]] = []
        batch = asked.batch_size
        for order, recipe in enumerate(recipes):
            if recipe.batch_size < batch and any(found[0] < patience for found in options):
                continue
            batch = min(batch, recipe.batch_size)
            for way in _fitting(network, recipe, budget, stream, outputs, checkpoint):
                seconds = _Cost(network, recipe, way.streaming, pace).seconds
                options.append((round(seconds / reference, 3), order, recipe, way))
        for _, _, recipe, way in sorted(options, key=lambda option: option[:2]):
            for streaming in way.thinner():
                try:
                    plan = plan_training(network, recipe, budget, streaming, checkpoint=checkpoint)
                except BudgetError:
                    continue
                cost = _Cost(network, recipe, streaming, pace)
                return Choice(
                    network, recipe, streaming, plan, cost.reads, cost.writes,
                    cost.seconds / reference, _least(network, recipes, stream, checkpoint),
                    checkpoint,
                )  # fmt: skip
    least = _least(network, recipes, stream, checkpoint)
    fixed = not stream or min(recipe.batch_size for recipe in recipes) > 1
    advice = ADVICE if fixed else "Lower the layer widths (--hidden)."
    raise plan_training(network, asked, checkpoint=checkpoint).refusal(
        budget, f"The smallest budget that works is {least:,} B. {advice}"
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to keep the layers: ``base`` with its lowest ``residents`` in memory; None: all are.

    less: what takes less memory than ``base``, from more to less.
    """

    base: Streaming | None
    residents: int = 0
    less: tuple[Streaming, ...] = ()

    def thinner(self) -> Iterator[Streaming | None]:
        """This way and what takes less: placing adds to the bytes alive that were looked at."""
        for residents in range(self.residents, -1, -1):
            yield replace(self, residents=residents).streaming
        yield from self.less

    @property
    def streaming(self) -> Streaming | None:
        if self.base is None:
            return None
        counts = (0,) * self.residents + self.base.panels[self.residents :]
        return replace(self.base, panels=counts)


def _fitting(
    network: Network, recipe: Recipe, budget: int, stream: bool, outputs: bool, checkpoint: bool
) -> Iterator[_Way]:
    """Ways that fit, as far as can be said without placing the buffers."""

    def fits(streaming: Streaming | None) -> bool:
        needs = training_needs(network, recipe, recipe.batch_size, streaming, checkpoint=checkpoint)
        return most_alive(needs) <= budget

    if fits(None):
        yield _Way(None)
        return
    if not stream or recipe.threads > 1:
        return
    layerwise = recipe.schedule == "layerwise"
    bytes_hold_it = all(layer.activation.nonnegative for layer in network.layers)
    keep = outputs and layerwise and bytes_hold_it and network.rule.rows_per_sample == 1
    for ahead, behind in ((True, True), (True, False), (False, False)):
        if behind and layerwise:
            # A layer that has learned is never written.
            continue
        streaming = replace(Streaming.of(network, ahead=ahead, behind=behind), outputs=keep)
        if fits(streaming):
            yield _with_residents(streaming, fits)
    slices = [replace(streaming, outputs=keep) for streaming in _slices(network)]
    first = _first(lambda i: fits(slices[i]), len(slices))
    if first < len(slices):
        way = _with_residents(slices[first], fits)
        yield replace(way, less=tuple(slices[first + 1 :]))


def _slices(network: Network) -> list[Streaming]:
    """Layers in slices of about as many bytes each, from large to one panel of every layer."""
    inputs = [layer.in_features for layer in network.layers]
    most = [panels(width) for width in network.hidden]
    largest = max(range(len(most)), key=lambda i: most[i] * inputs[i])
    found = []
    for count in range(most[largest] - 1, 0, -1 - most[largest] // 64):
        size = count * inputs[largest]
        counts = (min(max(size // own, 1), top) for own, top in zip(inputs, most, strict=True))
        found.append(Streaming(tuple(counts)))
    return [*found, Streaming((1,) * len(most))]


def _with_residents(base: Streaming, fits: Callable[[Streaming | None], bool]) -> _Way:
    """As many of the lowest layers resident as fit: layerwise reads those most often."""
    most = len(base.panels) - 1
    short = _first(lambda i: fits(_Way(base, most - i).streaming), most)
    return _Way(base, most - short)


def _first(holds: Callable[[int], bool], count: int) -> int:
    """The smallest number for which it holds, as it does for all from there; else ``count``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _least(network: Network, recipes: Sequence[Recipe], stream: bool, checkpoint: bool) -> int:
    """The smallest peak of any of the recipes, at its thinnest."""
    thin: list[Streaming | None] = [None]
    if stream:
        thin += [Streaming.of(network), Streaming((1,) * len(network.layers))]
    smallest = min(recipe.batch_size for recipe in recipes)
    return min(
        place(training_needs(
            network, recipe, recipe.batch_size, streaming, checkpoint=checkpoint
        )).peak
        for recipe in recipes if recipe.batch_size == smallest
        for streaming in (thin if recipe.threads == 1 else thin[:1])
    )  # fmt: skip


class _Cost:
    """Bytes moved in an average step, and seconds for each sample and epoch of the whole run."""

    def __init__(
        self, network: Network, recipe: Recipe, streaming: Streaming | None, pace: Pace
    ) -> None:
        depth, batch = len(network.layers), recipe.batch_size
        rate = pace.int8 if network.precision == "int8" else pace.float32
        forward = [layer.in_features * layer.out_features for layer in network.layers]
        stages = [[i] for i in range(depth)] if recipe.schedule == "layerwise" else [range(depth)]
        seconds = reads = writes = 0.0
        for stage in stages:
            lower = range(0 if streaming is None or not streaming.outputs else stage[0], stage[0])
            macs = sum(forward[i] for i in lower) + 2 * sum(forward[i] for i in stage)
            compute = macs * batch * network.rule.rows_per_sample / rate
            compute += pace.call * (len(lower) + len(stage))
            read, written = _moved(network, recipe, streaming, lower, stage)
            seconds += _step_seconds(compute, read / pace.disk, written / pace.disk, streaming)
            reads, writes = reads + read, writes + written
        self.reads, self.writes = int(reads / len(stages)), int(writes / len(stages))
        self.seconds = seconds / batch


def _step_seconds(
    compute: float, read: float, written: float, streaming: Streaming | None
) -> float:
    beside = 0.0 if streaming is None or not streaming.ahead else read
    if streaming is not None and streaming.behind:
        beside += written
    # What is done beside the computing is not free: both want the same memory.
    both = max(compute, beside) + 0.25 * min(compute, beside)
    return both + read + written - beside


def _moved(
    network: Network, recipe: Recipe, streaming: Streaming | None, lower: Sequence[int],
    stage: Sequence[int],
) -> tuple[int, int]:  # fmt: skip
    """Bytes read and written in a step where ``lower`` layers only run and ``stage`` learns."""
    read = written = 0
    if streaming is None:
        return 0, 0
    if streaming.outputs and stage[0] > 0:
        read += recipe.batch_size * network.hidden[stage[0] - 1]
    for i in lower:
        if streaming.streams(i):
            read += sum(spec.nbytes for spec in parameters(network, i).values())
    for i in stage:
        sliced = streaming.slices(network, i)
        if not streaming.streams(i) or (recipe.schedule == "layerwise" and not sliced):
            continue
        own = parameters(network, i)
        both = sum(spec.nbytes for spec in (own | kept_state(network, recipe, i)).values())
        read, written = read + both, written + both
        if sliced:
            # Once for the product and once more, but for the last slice, for the update.
            parts = bounds(panels(network.hidden[i]), streaming.panels[i])
            read += own["weight"].nbytes * (len(parts) - 1) // len(parts)
    return read, written
