"""Checkpoints in a folder: after any power cut the last state that was saved is there, whole.

``0000000042.ffstate`` begins with all arrays as they were at save 42; later saves append what has
changed (``checkpoint_record``). When the changes have grown as large as the arrays, or the arrays
are others, a new file is begun: under a temporary name, synced, renamed, and the folder synced;
only then are files removed, all but the two newest. Two processes cannot have the same folder
(``lock``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from .checkpoint_record import (
    BASE,
    DELTA,
    PIECE,
    Array,
    Record,
    Writer,
    read_record,
    table_of,
)
from .disk import Disk
from .errors import CheckpointError, ConfigError

#: Files that are kept: the newest and the one before.
KEPT = 2

#: Bytes that are compared, and written, as one.
BLOCK = 1024

_NAME = re.compile(r"(\d{10})\.ffstate")
_TEMPORARY = re.compile(r"\.\d{10}\.ffstate\.[0-9a-f]{8}")


@dataclass(slots=True)
class _Chain:
    """The file that is being appended to. size: of its whole records."""

    name: str
    table: list[Any]
    size: int
    base_bytes: int


class CheckpointStore:
    """Saves and loads states: facts (JSON types) and named arrays.

    folder: must be there, see ``lock``. marks: uint64 array of ``marks_of`` entries in which
    the store keeps what the last save held, so as to write changes only; None: it writes all.
    The first save of a process writes all in any case.
    """

    def __init__(
        self, folder: str | os.PathLike[str], disk: Disk | None = None, *,
        marks: Array | None = None,
    ) -> None:  # fmt: skip
        self.folder = os.fspath(folder)
        self._disk = Disk() if disk is None else disk
        self._marks = marks
        self._chain: _Chain | None = None
        self._sequence: int | None = None
        self._bad: set[int] = set()
        self.bytes_written = 0
        #: What ``load`` found damaged and went past, in words; a torn end is usual after a cut.
        self.skipped: list[str] = []

    def save(self, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """Write a state; it is durable when this returns. The bytes written.

        An OSError leaves all earlier states; the next save then begins a new file.
        """
        chain, self._chain = self._chain, None
        if self._sequence is None:
            self._sequence = max(self._numbers(), default=0)
        self._sequence += 1
        written = None
        if chain is not None and self._marks is not None and chain.table == table_of(arrays):
            written = self._append(chain, facts, arrays)
        if written is None:
            chain, written = self._begin(facts, arrays)
        self._chain = chain
        self.bytes_written += written
        return written

    def peek(self) -> dict[str, Any] | None:
        """The facts of the newest whole state, or None if there is no state.

        Raises CheckpointError if there are files but no whole state in any of them.
        """
        found = self._newest()
        return None if found is None else found[1][-1].facts

    def load(self, arrays: Mapping[str, Array]) -> dict[str, Any] | None:
        """Fill ``arrays`` with the newest whole state; its facts, or None if there is no state.

        Raises CheckpointError if there are files but no whole state in any of them, or if its
        arrays are others than these.
        """
        found = self._newest()
        if found is None:
            return None
        number, records, newest = found
        name, base, last = _name(number), records[0], records[-1]
        with self._disk.open(self._path(name)) as file:
            self._check_table(name, base, arrays)
            _read_arrays(file, base, arrays)
            for record in records[1:]:
                self._apply(file, name, record, arrays)
        # A file of another process is never appended to: its name, or bytes that a failed sync gave
        # up, may not have reached the disk, though they can be read.
        self._chain = None
        self._sequence = max(newest, last.sequence)
        return last.facts

    def clear(self) -> None:
        """Remove all states: the run is over."""
        for number in sorted(self._numbers()):
            self._disk.remove(self._path(_name(number)))
        self._disk.sync_folder(self.folder)
        self._chain = None

    def _newest(self) -> tuple[int, list[Record], int] | None:
        """Number and records of the newest file that begins with a whole state; newest number."""
        self._bad.clear()
        self.skipped.clear()
        numbers = sorted(self._numbers(), reverse=True)
        for number in numbers:
            try:
                with self._disk.open(self._path(_name(number))) as file:
                    records, size = _whole_records(file)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise CheckpointError(
                        f"{self._path(_name(number))}: expected a state that can be read, got: "
                        f"{error.strerror}; set that right first, the state may be whole"
                    ) from None
                # Bad sectors; the file stays, for whoever can read more of it.
                self.skipped.append(f"{_name(number)} cannot be read: {error.strerror}")
                continue
            if not records:
                self._bad.add(number)
                self.skipped.append(f"{_name(number)} is not whole")
                continue
            last = records[-1]
            if size > last.end:
                rest = size - last.end
                self.skipped.append(f"{_name(number)}: {rest:,} B after save {last.sequence}")
            return number, records, numbers[0]
        if numbers:
            raise CheckpointError(
                f"{self.folder}: expected a whole state in one of {len(numbers)} files, got none; "
                "the disk is damaged: take a copy of the folder, or remove it to begin anew"
            )
        return None

    def sweep(self) -> None:
        """Remove what a killed process left half written; only under ``lock``."""
        for name in self._disk.names(self.folder):
            if _TEMPORARY.fullmatch(name):
                self._disk.remove(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _numbers(self) -> list[int]:
        found = (_NAME.fullmatch(name) for name in self._disk.names(self.folder))
        return [int(match[1]) for match in found if match is not None]

    def _begin(self, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[_Chain, int]:
        """A new file with all arrays."""
        assert self._sequence is not None
        name = _name(self._sequence)
        temporary = self._path(f".{name}.{os.urandom(4).hex()}")
        table = table_of(arrays)
        try:
            with self._disk.create(temporary) as file:
                payload = sum(array.nbytes for array in arrays.values())
                about = {"facts": dict(facts), "arrays": table}
                writer = Writer(file, BASE, self._sequence, about, payload)
                for array in arrays.values():
                    writer.write(array.data.cast("B"))
                size = writer.finish()
                file.sync()
            self._disk.rename(temporary, self._path(name))
        except BaseException:
            with contextlib.suppress(OSError):
                self._disk.remove(temporary)
            raise
        self._disk.sync_folder(self.folder)
        self._remember(arrays)
        whole = sorted(set(self._numbers()) - self._bad, reverse=True)
        for number in [*self._bad, *whole[KEPT:]]:
            # An old file too many does no harm.
            with contextlib.suppress(OSError):
                self._disk.remove(self._path(_name(number)))
        self._bad.clear()
        return _Chain(name, table, size, size), size

    def _append(
        self, chain: _Chain, facts: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> int | None:
        """The changes behind the chain; None if a new file is due instead."""
        assert self._sequence is not None
        pieces = list(self._changes(arrays))
        payload = sum(PIECE.size + len(data) for _, data in pieces)
        if chain.size + payload > 2 * chain.base_bytes:
            return None
        with self._disk.append(self._path(chain.name), chain.size) as file:
            writer = Writer(
                file, DELTA, self._sequence, {"facts": dict(facts), "arrays": []}, payload
            )
            for offset, data in pieces:
                writer.write(PIECE.pack(offset, len(data)))
                writer.write(data)
            size = writer.finish()
            file.sync()
        chain.size += size
        self._remember(arrays)
        return size

    def _changes(self, arrays: Mapping[str, Array]) -> Iterator[tuple[int, memoryview]]:
        """(offset into all bytes, bytes) of runs of blocks that are not what they were."""
        assert self._marks is not None
        mark = offset = 0
        for array in arrays.values():
            view = array.data.cast("B")
            begin = None
            for first in range(0, len(view), BLOCK):
                changed = self._marks[mark] != _digest(view[first : first + BLOCK])
                mark += 1
                if changed and begin is None:
                    begin = first
                elif not changed and begin is not None:
                    yield offset + begin, view[begin:first]
                    begin = None
            if begin is not None:
                yield offset + begin, view[begin:]
            offset += len(view)

    def _remember(self, arrays: Mapping[str, Array]) -> None:
        if self._marks is None:
            return
        mark = 0
        for array in arrays.values():
            view = array.data.cast("B")
            for first in range(0, len(view), BLOCK):
                self._marks[mark] = _digest(view[first : first + BLOCK])
                mark += 1

    def _check_table(self, name: str, base: Record, arrays: Mapping[str, Array]) -> None:
        nbytes = sum(array.nbytes for array in arrays.values())
        if base.table != table_of(arrays) or base.payload != nbytes:
            raise CheckpointError(
                f"{self._path(name)}: expected the {len(arrays)} arrays of this run, got those of "
                "another network or recipe; choose another folder"
            )

    def _apply(
        self, file: BinaryIO, name: str, record: Record, arrays: Mapping[str, Array]
    ) -> None:
        """Put a delta's pieces into the arrays."""
        views = [array.data.cast("B") for array in arrays.values()]
        file.seek(record.start)
        end = record.start + record.payload
        while file.tell() < end:
            head = file.read(PIECE.size)
            # A piece that is cut off lies nowhere.
            offset, length = PIECE.unpack(head) if len(head) == PIECE.size else (2**64, 0)
            for view in views:
                if offset < len(view):
                    break
                offset -= len(view)
            if offset + length > len(view) or file.tell() + length > end:
                raise CheckpointError(
                    f"{self._path(name)}: expected changes inside the arrays, got some beyond; "
                    "another program wrote the file"
                )
            file.readinto(view[offset : offset + length])  # type: ignore[attr-defined]


def marks_of(arrays: Mapping[str, Any]) -> int:
    """Entries of the ``marks`` for arrays (or specs) with these sizes."""
    return sum(-(-array.nbytes // BLOCK) for array in arrays.values())


def _name(number: int) -> str:
    return f"{number:010d}.ffstate"


def _digest(data: memoryview) -> np.uint64:
    """64 bits that differ where the bytes do, but for one case in 2**64."""
    found = hashlib.blake2b(data, digest_size=8).digest()
    return np.uint64(int.from_bytes(found, "little"))


def _whole_records(file: BinaryIO) -> tuple[list[Record], int]:
    """The base at the start and the deltas behind it, up to the first torn one; the file's size."""
    size = file.seek(0, os.SEEK_END)
    records: list[Record] = []
    end = 0
    while (record := read_record(file, end, size)) is not None:
        if (record.kind == BASE) != (not records):
            break
        if records and record.sequence <= records[-1].sequence:
            break
        records.append(record)
        end = record.end
    return records, size


def _read_arrays(file: BinaryIO, base: Record, arrays: Mapping[str, Array]) -> None:
    file.seek(base.start)
    for array in arrays.values():
        file.readinto(array.data.cast("B"))  # type: ignore[attr-defined]


def _make_folder(path: str) -> None:
    """Make a folder and those above it, durably: a state in a folder that is lost is lost."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(os.path.abspath(path))
    _make_folder(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    Disk().sync_folder(above)


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes out of a checkpoint folder, which is made if it is not there.

    Raises CheckpointError at once if one is in, ConfigError if the folder cannot be made.
    """
    path = os.fspath(folder)
    try:
        _make_folder(path)
        file = open(os.path.join(path, "lock"), "a+b")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a folder for checkpoints that can be written to, got: "
            f"{error.strerror}; choose another one"
        ) from None
    with file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            who = file.read(20).decode(errors="replace").strip() or "another process"
            raise CheckpointError(
                f"{path}: expected a folder that no other training uses, got one in use by process "
                f"{who}; wait for it, or choose another folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
