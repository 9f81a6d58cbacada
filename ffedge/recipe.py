"""How a network is trained: everything that is not part of the network itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import ConfigError
from .optimizers import OPTIMIZERS, Adam, Optimizer
from .scaling import check_kind
from .shifts import Shift, check_shift

#: "sweep": all layers learn from every batch. "layerwise": one layer to the end, then the next.
SCHEDULES = ("sweep", "layerwise")

#: How replayed samples may be stored.
REPLAY_DTYPES = ("float32", "uint8")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimiser, batches and passes over the data. Frozen; no arrays.

    optimizer: of every layer. batch_size: samples per update, at least 1; a smaller batch, at the
    end of the data or from a stream, counts for less: each sample weighs 1 / batch_size.
    epochs: passes over the data (in "layerwise", per layer), at least 1.
    schedule: "sweep" or "layerwise"; only the layer in hand needs optimiser state in the latter.
    hold: share of the updates made at the full rate; from there it falls linearly to 0
    (0..1; 1 keeps it constant; Hinton's own program holds it for 0.5), 16 updates at a time.
    scaling: see ``scaling``. stream: the scaler goes on learning while samples arrive one batch
    at a time (``Trainer.learn``) and keeps its memory for that; needs "sweep".
    threads: 1, or 2 for a pipeline of two halves of the layers (int8, "sweep"): the same bits.
    replay: samples of a stream that are kept and learned again beside new ones, see
    ``ffedge.replay``; 0: none. They are stored as replay_dtype, "float32" or "uint8".
    shift: pixels or steps by which a training sample is moved at most, each way and anew every
    time, see ``ffedge.shifts``: of both axes, or (first axis, second axis); 0: none.
    seed: 0..2**32-1, of weights, shuffling and negative data.
    """

    optimizer: Optimizer = field(default_factory=Adam)
    batch_size: int = 64
    epochs: int = 10
    schedule: str = "sweep"
    hold: float = 0.5
    scaling: str = "standard"
    shuffle: bool = True
    stream: bool = False
    threads: int = 1
    replay: int = 0
    replay_dtype: str = "float32"
    shift: Shift = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("batch_size", 1, 1 << 20), ("epochs", 1, 1 << 20),
                                ("replay", 0, 1 << 24), ("seed", 0, 2**32 - 1)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(
                    f"Recipe: expected {name} a whole number in {low:,}..{high:,}, got {value!r}"
                )
        if self.schedule not in SCHEDULES:
            raise ConfigError(
                f"Recipe: expected schedule one of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )
        if not isinstance(self.hold, int | float) or not 0.0 <= self.hold <= 1.0:
            raise ConfigError(f"Recipe: expected hold in 0..1, got {self.hold!r}")
        for name in ("shuffle", "stream"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(
                    f"Recipe: expected {name} True or False, got {getattr(self, name)!r}"
                )
        if not isinstance(self.optimizer, Optimizer):
            raise ConfigError(
                f"Recipe: expected one of ffedge.optimizers, such as Adam(), got {self.optimizer!r}"
            )
        if self.stream and self.schedule != "sweep":
            raise ConfigError(
                "Recipe: expected schedule sweep for a stream, whose every batch trains all "
                f"layers, got {self.schedule!r}"
            )
        if type(self.threads) is not int or self.threads not in (1, 2):
            raise ConfigError(f"Recipe: expected 1 or 2 threads, got {self.threads!r}")
        if self.threads == 2 and self.schedule != "sweep":
            raise ConfigError(
                "Recipe: expected schedule sweep for two threads, whose every batch trains all "
                f"layers, got {self.schedule!r}"
            )
        if self.replay and self.batch_size < 2:
            raise ConfigError(
                "Recipe: expected a batch_size of at least 2 with replay, for a new sample and one "
                f"that was kept, got {self.batch_size}"
            )
        if self.replay_dtype not in REPLAY_DTYPES:
            raise ConfigError(
                f"Recipe: expected replay_dtype one of {', '.join(REPLAY_DTYPES)}, got "
                f"{self.replay_dtype!r}"
            )
        check_kind(self.scaling)
        object.__setattr__(self, "shift", check_shift(self.shift))
        if self.shift and self.stream:
            raise ConfigError(
                "Recipe: expected shift 0 for a stream, whose samples are learned as they come, "
                f"got {self.shift!r}"
            )

    def rate_factor(self, done: int, total: int) -> float:
        """Factor on the learning rate of update ``done`` (from 0) of ``total``."""
        left = (total - done) / total
        return min(1.0, left / (1.0 - self.hold)) if self.hold < 1.0 else 1.0

    def stages(self, layers: int) -> int:
        """How many passes of ``epochs`` there are: 1, or one per layer."""
        return layers if self.schedule == "layerwise" else 1

    def describe(self) -> dict[str, Any]:
        """A description made of JSON types."""
        options = asdict(self)
        if not self.replay:
            del options["replay"], options["replay_dtype"]
        if not self.shift:
            del options["shift"]
        elif isinstance(self.shift, tuple):
            options["shift"] = list(self.shift)
        options["optimizer"] = {"name": self.optimizer.name, **asdict(self.optimizer)}
        return options

    @classmethod
    def parse(cls, description: Any) -> Recipe:
        """The recipe of a ``describe`` result; ConfigError for unknown or missing fields."""
        try:
            options = dict(description)
            optimizer = dict(options.pop("optimizer"))
            kind = OPTIMIZERS[optimizer.pop("name")]
            return cls(optimizer=kind(**optimizer), **options)
        except ConfigError as error:
            # What stood there may be long, and the words quote it.
            raise ConfigError(f"{error!s:.500}") from None
        except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ConfigError(f"recipe: expected the known fields, got {error!r:.200}") from None
