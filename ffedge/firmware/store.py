"""Where the checkpoint lies in flash, what is in it, and a reader of flash dumps.

The byte format and the rules are those of ``kernels/device/checkpoint.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError
from ..kernels.device import checkpoint
from ..plan import Plan

Array = np.ndarray[Any, Any]

#: Parameters that training changes end so; the scaler stays in the image.
_LAYER = "layer"


@dataclass(frozen=True, slots=True)
class SavedRange:
    """A buffer that is saved: name, byte offset in the arena, bytes; multiples of 4."""

    name: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """Two slots of equal size at the end of a board's flash.

    ranges: saved parts of the arena, in this order. counters: 32-bit update counters behind
    them. page_bytes: erase unit, a multiple of 8. word_bytes: least that is programmed, 4 or 8.
    fingerprint: see ``fingerprint_of``.
    Raises ConfigError for other numbers, or ranges that overlap.

    >>> Store((SavedRange("weight", 0, 1024),), 1, 4096, 4, 7).nbytes
    8192
    """

    ranges: tuple[SavedRange, ...]
    counters: int
    page_bytes: int
    word_bytes: int
    fingerprint: int

    def __post_init__(self) -> None:
        if self.word_bytes not in (4, 8):
            raise ConfigError(f"Store: expected words of 4 or 8 bytes, got {self.word_bytes}")
        if self.page_bytes < 8 or self.page_bytes % 8:
            raise ConfigError(
                f"Store: expected pages of a multiple of 8 bytes, got {self.page_bytes:,}"
            )
        if self.counters < 0 or not 0 <= self.fingerprint < 2**32:
            raise ConfigError(
                "Store: expected counters >= 0 and a fingerprint of 32 bits, got "
                f"{self.counters} and {self.fingerprint}"
            )
        end = 0
        for part in sorted(self.ranges, key=lambda part: part.offset):
            if part.offset % 4 or part.nbytes % 4 or part.nbytes < 0 or part.offset < end:
                raise ConfigError(
                    f"Store: expected ranges of whole 32-bit words that do not overlap, got "
                    f"{part.name} with {part.nbytes:,} B at {part.offset:,}"
                )
            end = part.offset + part.nbytes
        if self.nbytes >= 2**31 or end >= 2**31:
            raise ConfigError(f"Store: expected less than 2 GiB, got {self.nbytes:,} B")

    @classmethod
    def of(
        cls, plan: Plan, page_bytes: int, word_bytes: int, fingerprint: int, *, counters: int
    ) -> Store:
        """The store for all that training changes in the arena of ``plan``: the layers' weights.

        counters: how many update counters a device keeps, one for each layer.
        """
        own = [
            SavedRange(b.name, b.offset, b.spec.nbytes)
            for b in plan.buffers
            if b.category == "weights" and b.name.startswith(_LAYER)
        ]
        return cls(tuple(own), counters, page_bytes, word_bytes, fingerprint)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the ranges and the counters."""
        return sum(part.nbytes for part in self.ranges) + 4 * self.counters

    @property
    def used_bytes(self) -> int:
        """Bytes of a slot that are programmed: header, payload, CRC and commit word."""
        data = 4 * checkpoint.HEADER + self.payload_bytes
        return -(-data // 8) * 8 + 2 * self.word_bytes

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot: whole pages."""
        return -(-self.used_bytes // self.page_bytes) * self.page_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of flash for both slots."""
        return 2 * self.slot_bytes

    @property
    def layout(self) -> Array:
        """The kernels' ``layout``, uint32 (9,)."""
        numbers = (
            checkpoint.MAGIC, checkpoint.FORMAT, self.fingerprint, 0,
            self.payload_bytes // 4 - self.counters, self.counters,
            self.word_bytes // 4, self.page_bytes // 4, self.slot_bytes // 4,
        )  # fmt: skip
        return np.array(numbers, np.uint32)

    @property
    def table(self) -> Array:
        """The kernels' ``ranges``, int32 (ranges, 2): byte offset and bytes."""
        rows = [(part.offset, part.nbytes) for part in self.ranges]
        return np.array(rows, np.int32).reshape(-1, 2)

    def read(self, dump: bytes) -> list[Slot]:
        """Both slots of a flash dump, ``nbytes`` long; nothing in it is trusted.

        Raises CheckpointError for a dump of another length.
        """
        if len(dump) != self.nbytes:
            raise CheckpointError(
                f"flash dump: expected {self.nbytes:,} B, two slots of {self.slot_bytes:,} B, got "
                f"{len(dump):,} B"
            )
        halves = dump[: self.slot_bytes], dump[self.slot_bytes :]
        return [self._slot(number, half) for number, half in enumerate(halves)]

    def _slot(self, number: int, content: bytes) -> Slot:
        words = np.frombuffer(content, "<u4")
        header = 4 * checkpoint.HEADER
        magic, form, mark, sequence, taken, counters = map(int, words[: checkpoint.HEADER])
        end = header + 4 * (taken + counters)
        end += end % 8
        if magic == checkpoint.ERASED:
            return Slot(number, "empty")
        if magic != checkpoint.MAGIC or end + 2 * self.word_bytes > self.slot_bytes:
            return Slot(number, "damaged")
        if zlib.crc32(content[:end]) != int(words[end // 4]):
            return Slot(number, "damaged")
        if (form, mark, 4 * (taken + counters), counters) != (
            checkpoint.FORMAT, self.fingerprint, self.payload_bytes, self.counters,
        ):  # fmt: skip
            return Slot(number, "foreign")
        commit = content[end + self.word_bytes : end + 2 * self.word_bytes]
        status = "committed" if commit != b"\xff" * self.word_bytes else "whole"
        payload = content[header : header + self.payload_bytes]
        parts, at = {}, 0
        for part in self.ranges:
            parts[part.name] = payload[at : at + part.nbytes]
            at += part.nbytes
        numbers = tuple(np.frombuffer(payload[at:], "<u4").tolist())
        return Slot(number, status, sequence, parts, numbers)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as read from a dump.

    status: "empty", "damaged", "foreign", "whole" (not committed) or "committed". Of the last
    two also the sequence number, the bytes of each range by its name, and the update counters.
    """

    number: int
    status: str
    sequence: int = 0
    ranges: dict[str, bytes] | None = None
    counters: tuple[int, ...] = ()


def fingerprint_of(parts: Iterable[str | bytes]) -> int:
    """CRC-32 of what a checkpoint must agree with: network, seed, board, scaler, in any words."""
    total = 0
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # The lengths keep ("a", "bc") and ("ab", "c") apart.
        total = zlib.crc32(len(data).to_bytes(8, "little") + data, total)
    return total


def newest(slots: Sequence[Slot]) -> Slot | None:
    """The slot that a device would load, or None."""
    whole = [slot for slot in slots if slot.ranges is not None]
    if len(whole) == 2 and 0 < (whole[1].sequence - whole[0].sequence) % 2**32 < 2**31:
        return whole[1]
    return whole[0] if whole else None
