"""The budget as a limit of the operating system: a broken promise is a MemoryError, not a surprise.

    warm_up(choice, data)
    with enforced(choice.plan.peak):
        ... make the trainer, train, evaluate ...

``warm_up`` trains a tiny network of the same kind first, so that kernels are compiled, threads
have had their stacks and the allocator has settled; ``enforced`` then lets the process's data grow
by the plan's bytes and a named slack, and by nothing else (RLIMIT_DATA: heap and private writable
memory; mapped files and code do not count).
"""

from __future__ import annotations

import ctypes
import gc
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import ConfigError
from .model import Model
from .network import Network
from .plan import ALIGNMENT
from .planner import Choice
from .sources import Dataset
from .streaming import Streaming
from .trainer import Trainer
from .training_file import TrainingFile
from .units import show_bytes

#: What the interpreter may take beside the arena: its own objects come and go while it trains, and
#: its heap grows 132 KiB at a time. Trainings of all kinds took up to 152,000 B.
SLACK = 512 << 10

#: Two lines of guard and alignment around the arena.
_GUARD = 2 * ALIGNMENT


@dataclass(slots=True)
class Enforcement:
    """A limit in force. All in bytes.

    limit: of the process's data. before: its data when the limit was set. planned, slack: what
    was added to that. peak: most data that ``look`` has seen.
    """

    limit: int
    before: int
    planned: int
    slack: int
    peak: int = 0

    def look(self) -> None:
        """Note the data that the process has now."""
        self.peak = max(self.peak, data_bytes())


def data_bytes() -> int:
    """VmData of this process: heap and private writable memory, bytes; 0 where /proc is missing."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def enforced(planned: int, *, slack: int = SLACK) -> Iterator[Enforcement]:
    """Let the process's data grow by ``planned`` bytes, the arena's guard and ``slack``, no more.

    What asks for more gets a MemoryError. The limit before is restored in the end. Raises
    ConfigError where the system has no such limit, or a lower one already.
    """
    before = data_bytes()
    if not before:
        raise ConfigError(
            "enforce: expected a system that can limit its processes' data (Linux), got another "
            "one; leave --enforce out, the plan holds without it"
        )
    limit = before + planned + _GUARD + slack
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    for present, name in ((soft, "soft"), (hard, "hard")):
        if present != resource.RLIM_INFINITY and present < limit:
            raise ConfigError(
                f"enforce: expected room for {show_bytes(limit)} of data, got a {name} limit of "
                f"{show_bytes(present)} on this process; raise it (ulimit -d)"
            )
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    held = Enforcement(limit, before, planned, slack, before)
    try:
        yield held
        held.look()
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def warm_up(choice: Choice, data: Dataset) -> None:
    """Train a tiny network of the same kind on a batch and a sample of ``data``, and forget it.

    Kernels are compiled for the kinds of arrays that they get, so rule, precision, optimiser,
    schedule, threads, the data's type and the ways of keeping layers are those of ``choice``.
    """
    network, recipe = _tiny(choice), replace(choice.recipe, epochs=1)
    few = min(data.n_samples, recipe.batch_size + 1)
    numbers = np.arange(few, dtype=np.int32)
    part = replace(data, rows=numbers if data.rows is None else data.rows[:few])
    streaming = _tiny_streaming(choice, network)
    with tempfile.TemporaryFile() as file:
        lying = None
        if streaming is not None:
            model = Model(network, {}, data.classes, (network.features,))
            lying = TrainingFile(file, model, recipe)
        trainer = Trainer(network, recipe, streaming=streaming, file=lying)
        trainer.learn_scaling(part)
        for _ in trainer.train(part, part, tick=0.0):
            pass
        trainer.evaluate(part)
        trainer.close()
        del trainer
    gc.collect()
    with suppress(OSError, AttributeError):
        # What is free belongs to the system, not to the next allocation.
        ctypes.CDLL(None).malloc_trim(0)


def _tiny(choice: Choice) -> Network:
    """Three layers, or two where there are no more: all ways of keeping one find a place."""
    network = choice.network
    width = max(33, network.classes)
    hidden = (width,) * min(3, len(network.layers))
    return Network.dense(
        network.features, hidden, network.classes, network.rule,
        normalize_input=network.normalize_input, precision=network.precision,
        input_parts=network.input_parts,
    )  # fmt: skip


def _tiny_streaming(choice: Choice, network: Network) -> Streaming | None:
    real = choice.streaming
    if real is None:
        return None
    whole = Streaming.of(network).panels
    layers = range(len(choice.network.layers))
    kinds = []
    if any(real.slices(choice.network, i) for i in layers):
        kinds.append(1)
    if any(real.streams(i) and not real.slices(choice.network, i) for i in layers):
        kinds.append(whole[0])
    if not all(real.streams(i) for i in layers):
        kinds.append(0)
    panels = [kinds[i % len(kinds)] for i in range(len(whole))]
    return replace(real, panels=tuple(panels))
