"""The budget as a limit of the operating system: a broken promise is a MemoryError, not a surprise.

    choice = planner.choose(network, [recipe], budget)
    warm_up(choice, data, test)
    with enforced(choice.plan.peak) as held:
        trainer = Trainer(network, recipe, budget=budget)
        trainer.learn_scaling(data)
        for progress in trainer.train(data):
            held.look()
        trainer.evaluate(test)

So ``ffedge train --enforce`` does, and so does whoever trains from Python; the limit is of the
whole process, other threads included. ``FFClassifier`` has no such option: it copies what it is
given, which no plan knows of.

``warm_up`` trains a tiny network of the same kind first, so that kernels are compiled, threads
have had their stacks and the allocator has settled; ``enforced`` then lets the process's data grow
by the plan's bytes and a named slack, and by nothing else (RLIMIT_DATA: heap and private writable
memory; mapped files and code do not count). What it cannot see are small blocks (``heap.BLOCK``)
in memory that the process had freed before, such as a compiler's.
"""

from __future__ import annotations

import errno
import mmap
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .arena import MARGIN
from .errors import ConfigError
from .heap import filled_holes
from .model import Model
from .network import Network
from .planner import Choice
from .sources import Dataset
from .streaming import Streaming
from .trainer import Trainer
from .training_file import TrainingFile
from .units import show_bytes

#: What the interpreter may take beside the arena: its own objects come and go while it trains, and
#: its heap grows 132 KiB at a time. Measured by lowering it until trainings fail: with one thread
#: all passed at 16 KiB, with two at 64 KiB and none at 32, which a new thread takes for itself; so
#: this is eight times what sufficed. Its arenas of 1 MiB for small objects are refused
#: by any such slack; it then turns to the heap.
SLACK = 512 << 10


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
    ConfigError where the system has no such limit, does not keep it, or has a lower one already.
    """
    with filled_holes(), _limit(planned, slack) as held:
        try:
            yield held
            held.look()
        except (OSError, RuntimeError) as error:
            if not _is_refusal(error):
                raise
            raise MemoryError(str(error)) from error


@contextmanager
def _limit(planned: int, slack: int) -> Iterator[Enforcement]:
    before = data_bytes()
    if not before:
        raise ConfigError(
            "enforce: expected a system that can limit its processes' data (Linux), got another "
            "one; leave --enforce out, the plan holds without it"
        )
    limit = before + planned + MARGIN + slack
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    for present, name in ((soft, "soft"), (hard, "hard")):
        if present != resource.RLIM_INFINITY and present < limit:
            raise ConfigError(
                f"enforce: expected room for {show_bytes(limit)} of data, got a {name} limit of "
                f"{show_bytes(present)} on this process; raise it (ulimit -d)"
            )
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        _try_limit(limit)
        yield Enforcement(limit, before, planned, slack, before)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _try_limit(limit: int) -> None:
    """Ask for more than the limit leaves: a kernel may know the limit and not keep it."""
    try:
        mmap.mmap(-1, limit, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return
    raise ConfigError(
        f"enforce: expected the system to refuse what goes beyond {show_bytes(limit)} of data, "
        "got the memory all the same; leave --enforce out, the plan holds without it"
    )


def _is_refusal(error: OSError | RuntimeError) -> bool:
    """Whether it stands for a MemoryError: a mapping or a thread's stack was refused."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return "start new thread" in str(error)


def warm_up(choice: Choice, data: Dataset, *others: Dataset) -> None:
    """Train a tiny network of the same kind on a batch and a sample of ``data``, and forget it.

    Kernels are compiled for the kinds of arrays that they get, so rule, precision, optimiser,
    schedule, threads, the data's type and the ways of keeping layers are those of ``choice``.
    others: what will be evaluated beside ``data``, whose types may differ.
    """
    network, recipe = _tiny(choice), replace(choice.recipe, epochs=1)
    part, *parts = (_first(each, recipe.batch_size + 1) for each in (data, *others))
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
        for other in (part, *parts):
            trainer.evaluate(other)
        trainer.close()


def _first(data: Dataset, most: int) -> Dataset:
    """Its first samples, ``most`` if there are so many; the same arrays."""
    few = min(data.n_samples, most)
    return replace(
        data, rows=np.arange(few, dtype=np.int32) if data.rows is None else data.rows[:few]
    )


def _tiny(choice: Choice) -> Network:
    """Three layers, or two where there are no more: all ways of keeping one find a place."""
    network = choice.network
    return network.small(max(33, network.classes), min(3, len(network.layers)))


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
