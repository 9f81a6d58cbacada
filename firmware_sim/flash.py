"""A board's flash as an object: addresses, refusals in words, wear, seconds, joules, power cuts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffedge.errors import ConfigError, DeviceError
from ffedge.firmware.boards import Board

from . import cells

Array = np.ndarray[Any, Any]


class PowerCut(Exception):  # noqa: N818 - not an error, an event
    """The power failed during an operation of the flash."""


class Flash:
    """``nbytes`` of NOR flash from ``address`` on; see ``cells`` for what it does when power fails.

    page_bytes: erase unit. word_bytes: least that is programmed, 4 or 8. writes_per_word: programs
    of a word between two erases. endurance: erases of a page before bits stay at zero.
    erase_seconds, program_seconds: of a page, of a word. watts: drawn meanwhile.
    Raises ConfigError for sizes that do not fit each other.
    """

    def __init__(
        self,
        nbytes: int,
        page_bytes: int = 4096,
        word_bytes: int = 4,
        *,
        address: int = 0,
        writes_per_word: int = 1,
        endurance: int = 10_000,
        erase_seconds: float = 0.0,
        program_seconds: float = 0.0,
        watts: float = 0.0,
        seed: int = 0,
    ) -> None:
        if word_bytes not in (4, 8) or page_bytes < 8 or page_bytes % 8:
            raise ConfigError(
                "Flash: expected words of 4 or 8 bytes and pages of a multiple of 8, got "
                f"{word_bytes} and {page_bytes:,}"
            )
        if nbytes < page_bytes or nbytes % page_bytes:
            raise ConfigError(
                f"Flash: expected whole pages of {page_bytes:,} B, got {nbytes:,} B in all"
            )
        self.nbytes, self.page_bytes, self.word_bytes = nbytes, page_bytes, word_bytes
        self.address, self.watts = address, watts
        self.erase_seconds, self.program_seconds = erase_seconds, program_seconds
        self.cells = cells.make(
            nbytes // 4, page_bytes // 4, word_bytes // 4, writes_per_word, endurance, seed
        )
        self.powered = True

    @classmethod
    def of(cls, board: Board, nbytes: int, *, seed: int = 0) -> Flash:
        """The last ``nbytes`` of a board's flash, one program a word between erases.

        While the flash works the core is billed as running: an estimate.
        """
        return cls(
            nbytes, board.page_bytes, board.word_bytes, address=board.flash_end - nbytes,
            endurance=board.endurance, erase_seconds=board.erase_seconds,
            program_seconds=board.program_seconds, seed=seed,
            watts=board.ua_per_mhz * 1e-6 * board.clock_hz / 1e6 * board.volts,
        )  # fmt: skip

    @property
    def words(self) -> Array:
        """What the flash reads as now: uint32 (nbytes / 4,), not to be written to."""
        view: Array = self.cells.now.view()
        view.flags.writeable = False
        return view

    def read(self, address: int, nbytes: int) -> bytes:
        """``nbytes`` from ``address`` on, as they read now. Raises DeviceError outside."""
        first = address - self.address
        if nbytes < 0 or first < 0 or first + nbytes > self.nbytes:
            self._refuse(f"read {nbytes:,} B", address)
        return bytes(self.cells.now.view(np.uint8)[first : first + nbytes])

    def erase(self, address: int) -> None:
        """Erase the page at ``address``. Raises DeviceError if there is none; PowerCut."""
        self._finish(cells.erase(self.cells, self._word(address)), "erase a page", address)

    def program(self, address: int, low: int, high: int = 0xFFFFFFFF) -> None:
        """Program one word of the flash, 4 bytes or 8; zeros stay zeros.

        Raises DeviceError if it is not one or was programmed as often as allowed; PowerCut.
        """
        at = self._word(address)
        status = cells.program(self.cells, at, np.uint32(low), np.uint32(high))
        self._finish(status, f"program {self.word_bytes} B", address)

    def _word(self, address: int) -> int:
        first = address - self.address
        # -1 is no page and no word: refused.
        return first // 4 if self.powered and first % 4 == 0 else -1

    def _finish(self, status: int, what: str, address: int) -> None:
        if status == cells.CUT_OFF:
            self.powered = False
            raise PowerCut
        if status == cells.REFUSED:
            self._refuse(what, address)

    def _refuse(self, what: str, address: int) -> None:
        off = "" if self.powered else "; the power is off, boot() first"
        raise DeviceError(
            f"flash: expected to {what} in {self.address:#010x}..{self.address + self.nbytes:#010x}"
            f", aligned, each word at most {self.cells.facts[cells.LIMIT]} time(s) between erases, "
            f"got {address:#010x}{off}",
            status=cells.REFUSED,
        )

    def cut(self, operation: int, mode: str) -> None:
        """Let the power fail at the operation of that number from now on: 1 is the next one.

        mode: "before", "after", "torn" or "unstable". 0 takes the order back.
        """
        if mode not in cells.MODES or operation < 0:
            raise ConfigError(
                f"Flash.cut: expected an operation >= 0 and a mode of {', '.join(cells.MODES)}, "
                f"got {operation} and {mode!r}"
            )
        facts = self.cells.facts
        facts[cells.CUT] = facts[cells.OPERATIONS] + operation if operation else 0
        facts[cells.MODE] = cells.MODES.index(mode)

    def boot(self) -> None:
        """The power is back: what is unstable reads differently from now on."""
        self.powered = True
        cells.refresh(self.cells, True)

    def restart(self, seed: int) -> None:
        """A new part: erased, without wear, its power on, drawing from ``seed`` (32 bits)."""
        self.powered = True
        cells.restart(self.cells, seed)

    def refresh(self) -> None:
        """Time has passed: unstable bits may read differently."""
        cells.refresh(self.cells, False)

    @property
    def operations(self) -> int:
        """Erases and programs begun."""
        return int(self.cells.facts[cells.OPERATIONS])

    @property
    def seconds(self) -> float:
        """Time spent on erasing and programming."""
        facts = self.cells.facts
        return float(
            facts[cells.ERASES] * self.erase_seconds + facts[cells.PROGRAMS] * self.program_seconds
        )

    @property
    def joules(self) -> float:
        """Energy spent on it, an estimate."""
        return self.seconds * self.watts

    @property
    def wear(self) -> Array:
        """Erases of each page, int32 (pages,)."""
        wear: Array = self.cells.wear.copy()
        return wear
