"""The complete list of buffers of a run, from its descriptions: the input of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from . import buffers_int8
from .buffers_box import box_needs, learned_needs
from .checkpoint_store import marks_of
from .errors import ConfigError
from .kernels.simd import PANELS, ROWS
from .layers import activity
from .network import Network
from .plan import END, Need, Plan, place
from .reading import Reading, default_reading
from .recipe import Recipe
from .replay import replay_needs
from .scaling import Scaler
from .streaming import Streaming
from .tensor import PANEL, TensorSpec

#: 127 * 127 * 65,536 and the rounding still fit the int32 sums of an update.
MAX_INT8_BATCH = 65_536

#: Stage in which the scaler is learned; the training stages follow.
PREPARE = 0

ADVICE = (
    "Lower the batch size (--batch-size) or the layer widths (--hidden), take an optimiser with "
    "less state (--optimizer sgd) or train layer by layer (--schedule layerwise); "
    "`ffedge plan` lists every buffer."
)


def parameters(network: Network, index: int) -> dict[str, TensorSpec]:
    """A layer's own parameters and the rule's, by their names within the layer."""
    own = network.layers[index].params(network.precision)
    return own | network.rule.params(network, index)


def kept_state(network: Network, recipe: Recipe, index: int) -> dict[str, TensorSpec]:
    """What a layer keeps from step to step beside its parameters, by names within the layer."""
    state = {
        f"{name}.{kind}": spec
        for name, spec in parameters(network, index).items()
        if network.rule.learns(name)
        for kind in recipe.optimizer.state
    }
    return state | network.rule.memory(network, index)


def scaler_needs(network: Network) -> Iterator[Need]:
    """The input's mean and gain, and what the rule keeps for the network as a whole."""
    for name in ("mean", "gain"):
        yield Need(f"input.{name}", TensorSpec((network.features,), "float32"), "weights")
    for name, spec in network.rule.shared_params(network).items():
        yield Need(name, spec, "weights")


def model_needs(network: Network) -> Iterator[Need]:
    """What is stored in the model file: the scaler, the layers' and the rule's parameters."""
    yield from scaler_needs(network)
    for i in range(len(network.layers)):
        yield from learned_needs(network, i)
        for name, spec in parameters(network, i).items():
            yield Need(f"layer{i}.{name}", spec, "weights")


def state_specs(network: Network, recipe: Recipe, turn: int) -> dict[str, TensorSpec]:
    """What a checkpoint in stage ``turn`` holds: parameters, and the state of what learns there.

    Of a stream also what its scaler knows and the samples kept for replay.
    """
    specs = {need.name: need.spec for need in model_needs(network)}
    layerwise = recipe.schedule == "layerwise"
    for index in [turn] if layerwise else range(len(network.layers)):
        for name, spec in kept_state(network, recipe, index).items():
            specs[f"layer{index}.{name}"] = spec
    if recipe.stream:
        specs["moments"] = Scaler.workspace(network.features)
        specs |= {need.name: need.spec for need in replay_needs(network, recipe)}
    return specs


def _kept_needs(
    network: Network, recipe: Recipe, streaming: Streaming, own: Sequence[tuple[int, int]]
) -> Iterator[Need]:
    """The layers' parameters and state in a training run; ``own``: stages in which each learns."""
    layerwise = recipe.schedule == "layerwise"
    depth, whole_step = len(network.layers), (0, END)
    for i in range(depth):
        streamed, turn = streaming.streams(i), streaming.turn(network, i)
        # Where one layer learns at a time, it stays in memory as long as it does.
        held = not streamed or (layerwise and not streaming.slices(network, i))
        phases = whole_step if held else turn
        for name, spec in parameters(network, i).items():
            window = streaming.window(i, name, spec)
            stages = own[i] if streamed else (PREPARE, END)
            yield Need(f"layer{i}.{name}", window, "weights", stages, phases)
            if streamed and layerwise and i < depth - 1:
                later = (own[i][1] + 1, END)
                yield Need(f"layer{i}.{name}.lower", window, "weights", later, turn)
        for name, spec in kept_state(network, recipe, i).items():
            window = streaming.window(i, name.split(".")[0], spec)
            yield Need(f"layer{i}.{name}", window, "optimizer state", own[i], phases)


def _step_needs(network: Network, batch: int, rows: int, stages: Sequence[int]) -> Iterator[Need]:
    """What one step needs in training and in prediction alike.

    rows: activities held for ``batch`` samples. stages: the first stage that runs each layer.
    """
    always = (min(stages), END)
    depth = len(network.layers)
    spec = activity((network.input_width,), network.rule.input_rows(rows))
    yield Need("input", spec, "activations", always, phases=(0, 1))
    for i, layer in enumerate(network.layers):
        # Read once more by the layer above, then dead.
        phases = (i + 1, min(i + 2, depth))
        spec = activity(layer.output_shape, rows)
        yield Need(f"layer{i}.out", spec, "activations", (stages[i], END), phases)
    # A rule's own weights may take in more than any layer's.
    specs = [spec for i in range(depth) for spec in parameters(network, i).values()]
    widest = max(network.classes, *(spec.shape[1] for spec in specs))
    workspace = {
        "index": TensorSpec((widest,), "int32"),
        "offset": TensorSpec((widest,), "int64"),
        "length": TensorSpec((rows,), "float32"),
        "total": TensorSpec((batch, network.classes), "float32"),
    } | network.rule.workspace(network, batch)
    for name, spec in workspace.items():
        yield Need(name, spec, "workspace", always)
    yield Need("chosen", TensorSpec((batch,), "int64"), "data", always)
    yield Need("labels", TensorSpec((batch,), "int32"), "data", always)


def training_needs(
    network: Network, recipe: Recipe, group: int, streaming: Streaming | None = None, *,
    checkpoint: bool = False,
) -> Iterator[Need]:  # fmt: skip
    """Everything that is alive at some moment of a training run.

    group: samples brought in at once, whole batches; more than one batch in int8 only.
    streaming: what lies on disk; None: nothing. checkpoint: with the marks by which a checkpoint
    knows what has changed, 8 B for each KiB of state.
    """
    if checkpoint:
        turns = range(recipe.stages(len(network.layers)))
        most = max(marks_of(state_specs(network, recipe, turn)) for turn in turns)
        yield Need("checkpoint.marks", TensorSpec((most,), "uint64"), "data")
    if streaming is None:
        streaming = Streaming((0,) * len(network.layers))
    layerwise = recipe.schedule == "layerwise"
    depth = len(network.layers)
    first = [i + 1 if layerwise else 1 for i in range(depth)]
    own = [(i + 1, i + 1) if layerwise else (1, END) for i in range(depth)]
    yield from scaler_needs(network)
    for i in range(depth):
        yield from learned_needs(network, i)
    yield from _kept_needs(network, recipe, streaming, own)
    kept = (PREPARE, END if recipe.stream else PREPARE)
    yield Need("moments", Scaler.workspace(network.features), "workspace", kept)
    yield from replay_needs(network, recipe)
    if network.precision == "int8":
        size, threads = recipe.batch_size, recipe.threads
        yield from buffers_int8.step_needs(network, group, first, threads)
        yield from box_needs(network, group, first)
        yield from buffers_int8.learning_needs(network, size, group, own, threads)
        yield from buffers_int8.slice_needs(network, group, streaming)
    else:
        rows = recipe.batch_size * network.rule.rows_per_sample
        yield from _step_needs(network, recipe.batch_size, rows, first)
        yield from box_needs(network, rows, first)
        if streaming.outputs and depth > 1:
            widest = max(buffers_int8.padded(width) for width in network.hidden[:-1])
            spec = TensorSpec((recipe.batch_size, widest), "uint8")
            yield Need("kept", spec, "data", (1, END))
        yield from _learning_needs(network, recipe, rows, own)


def _learning_needs(
    network: Network, recipe: Recipe, rows: int, own: Sequence[tuple[int, int]]
) -> Iterator[Need]:
    """What an update needs beyond that; ``own``: the stages in which each layer learns."""
    always = (1, END)
    for i, layer in enumerate(network.layers):
        spec = activity(layer.output_shape, rows)
        yield Need(f"layer{i}.delta", spec, "workspace", own[i], phases=(i + 1, i + 1))
        if layer.activation.keeps_sums:
            # Layers below the one that learns put theirs there too.
            yield Need(f"layer{i}.sums", spec, "activations", (own[i][0], END), (i + 1, i + 1))
    if recipe.optimizer.state:
        # A bias is the weight of an input that is always 1.
        yield Need("ones", TensorSpec((1, rows, PANEL), "float32"), "workspace", always)
        yield Need("tile", TensorSpec((PANELS, ROWS, PANEL), "float32"), "workspace", always)


def plan_training(
    network: Network, recipe: Recipe, budget: int | None = None,
    streaming: Streaming | None = None, *, checkpoint: bool = False,
) -> Plan:  # fmt: skip
    """Every buffer of a training run with its place.

    budget: bytes. streaming, checkpoint: see ``training_needs``. Raises BudgetError with the
    missing bytes, the largest buffers, what to change, and the smallest budget that would do.

    >>> plan_training(Network.dense(64, (100, 100), 10), Recipe()).peak < 512 * 1024
    True
    """
    check_training(network, recipe, streaming, checkpoint=checkpoint)
    size = recipe.batch_size
    plan = place(training_needs(network, recipe, size, streaming, checkpoint=checkpoint))
    # What a box makes of samples may depend on those beside them.
    grouped = network.precision == "int8" and not network.boxes
    group = buffers_int8.group_of(size) if grouped else size
    if group > size:
        # Faster, with the same bits; never a reason to refuse.
        roomy = place(training_needs(network, recipe, group, streaming, checkpoint=checkpoint))
        plan = roomy if budget is None or roomy.peak <= budget else plan
    if budget is not None and plan.peak > budget:
        smallest = 2 if recipe.replay else 1
        single = replace(recipe, batch_size=smallest)
        least = place(
            training_needs(network, single, smallest, streaming, checkpoint=checkpoint)
        ).peak
        plan.check(budget, f"{ADVICE} At batch size {smallest} this network needs {least:,} B.")
    return plan


def check_stream(network: Network) -> None:
    """Raise ConfigError for a rule that learns in two steps, of which a stream has one."""
    if not network.rule.learns("weight"):
        raise ConfigError(
            f"stream: expected a rule that trains the layers, got {network.rule.name}, whose "
            "layers have learned before; use fit"
        )


def check_training(
    network: Network, recipe: Recipe, streaming: Streaming | None = None, *,
    checkpoint: bool = False,
) -> None:  # fmt: skip
    """Raise ConfigError for what cannot be trained, whatever the memory."""
    rule = network.rule
    if rule.no_layerwise and recipe.schedule == "layerwise":
        raise ConfigError(
            f"plan_training: expected schedule sweep for the rule {rule.name}, "
            f"{rule.no_layerwise}, got layerwise"
        )
    if rule.no_streaming and streaming is not None:
        raise ConfigError(
            f"plan_training: expected all layers in memory for the rule {rule.name}, "
            f"{rule.no_streaming}, got some on disk; name a larger budget or narrow the layers"
        )
    if network.precision == "int8" and recipe.optimizer.state:
        raise ConfigError(
            f"plan_training: expected the optimiser sgd in int8, got {recipe.optimizer.name}; "
            "its moments do not fit 8-bit weights"
        )
    if network.precision == "int8" and recipe.batch_size > MAX_INT8_BATCH:
        raise ConfigError(
            f"plan_training: expected at most {MAX_INT8_BATCH:,} samples a batch in int8, whose "
            f"sums must fit 32 bits, got {recipe.batch_size:,}"
        )
    if recipe.threads > 1 and (network.precision != "int8" or len(network.layers) < 2):
        raise ConfigError(
            "plan_training: expected precision int8 and at least two layers for two threads, got "
            f"{network.precision} and {len(network.layers)}"
        )
    if recipe.threads > 1 and network.boxes:
        raise ConfigError(
            "plan_training: expected one thread where black boxes stand between the layers, whose "
            "functions need not bear two, got two; leave --threads out"
        )
    if recipe.stream and not network.rule.learns("weight"):
        raise ConfigError(
            f"plan_training: expected a rule that trains the layers for a stream, got "
            f"{network.rule.name}, whose layers have learned before; use fit"
        )
    if streaming is not None:
        streaming.check(network)
        if streaming.outputs and recipe.shift:
            raise ConfigError(
                "plan_training: expected shift 0 where outputs are kept on disk, which are of "
                f"samples as they are, got {recipe.shift!r}"
            )
        if checkpoint:
            raise ConfigError(
                "plan_training: expected all layers in memory where checkpoints are kept, got some "
                "on disk; leave the checkpoints out, or name a larger budget"
            )
        if recipe.threads > 1:
            raise ConfigError(
                "plan_training: expected one thread where layers are streamed from disk, got two; "
                "leave --threads out"
            )
        if streaming.outputs and not all(layer.activation.nonnegative for layer in network.layers):
            raise ConfigError(
                "plan_training: expected activations that are never below 0 where outputs are "
                "kept on disk in bytes 0 to 255, got leaky; leave --outputs-on-disk out"
            )
        if streaming.outputs and recipe.schedule != "layerwise":
            raise ConfigError(
                "plan_training: expected schedule layerwise where outputs are kept on disk, got "
                f"{recipe.schedule}"
            )


def plan_prediction(
    network: Network, batch: int, budget: int | None = None, reading: Reading | None = None
) -> Plan:
    """Every buffer that prediction in batches of ``batch`` samples needs.

    reading: how the network is read out; None: by ``default_reading``. Raises BudgetError as
    ``plan_training``, ConfigError for a batch below 1.
    """
    if batch < 1:
        raise ConfigError(f"plan_prediction: expected a batch of at least 1 sample, got {batch}")
    stages = [0] * len(network.layers)
    if network.precision == "int8":
        step = buffers_int8.step_needs(network, batch, stages)
    else:
        step = _step_needs(network, batch, batch * network.rule.rows_per_score, stages)
    rows = batch if network.precision == "int8" else batch * network.rule.rows_per_score
    own = (reading or default_reading(network)).workspace(network, batch)
    read = (Need(f"reading.{name}", spec, "workspace") for name, spec in own.items())
    plan = place([*model_needs(network), *step, *read, *box_needs(network, rows, stages)])
    if budget is not None:
        plan.check(budget, "Lower the batch size (--batch-size).")
    return plan
