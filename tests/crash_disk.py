"""A file system without a journal, in memory, whose power can be cut between any two operations.

What a program sees (``seen``) and what would survive (``durable``) are two things. In between:

- Bytes written, and cuts of a file's size, wait until ``sync`` of the file; names made, changed
  and removed wait until ``sync_folder``. Neither sync does the other's work.
- At a power cut anything that waits may have reached the disk or not, in any order: each 512 B
  sector of a write for itself, some torn at any byte; a file may have its new size before its
  bytes, with zeros or rubbish in their place; of the names any part of the calls, so that a
  removal may be there and an earlier rename not.
- After a failed ``sync`` the bytes that waited are taken for written: no later ``sync`` writes
  them. They can still be read as long as the power is on.

Every call is an operation. Calls are counted, and cut or refused by their number.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ffedge.disk import Disk, DiskFile

SECTOR = 512

#: What a cut does. KILL: only the process ends; what it has written can still be read, and still
#: waits. The others are power cuts. NOTHING: what waits is lost. ALL: it has just been written.
#: NAMES: the names of it, not the bytes. BYTES: the bytes, not the names. TORN: any part of it.
MODES = KILL, NOTHING, ALL, NAMES, BYTES, TORN = (
    "kill", "nothing", "all", "names", "bytes", "torn",
)  # fmt: skip


class Cut(BaseException):
    """The program ends here; no exception handler of it can do anything any more."""


@dataclass(frozen=True)
class Point:
    """Operation ``number`` (1: the first after the start) is the last one, or is not begun."""

    number: int
    mode: str
    after: bool = False


@dataclass(frozen=True)
class Fault:
    """Operations first..last fail with ``error`` (errno), if they are of ``kinds`` (empty: all).

    A write that fails has written its first half.
    """

    first: int
    last: int
    error: int
    kinds: tuple[str, ...] = ()


@dataclass
class Inode:
    """waiting: (offset, bytes), or a size that the file was cut to."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes] | int] = field(default_factory=list)


@dataclass
class Names:
    """One folder's: name to inode. waiting: calls not yet synced."""

    seen: dict[str, Inode] = field(default_factory=dict)
    durable: dict[str, Inode] = field(default_factory=dict)
    waiting: list[tuple[str, str, Inode]] = field(default_factory=list)


class CrashDisk(Disk):
    """The disk; ``restart`` gives power again, or starts a new process.

    capacity: bytes of all files; a write beyond fails with ENOSPC.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.capacity: int | None = None
        self.faults: Sequence[Fault] = ()
        #: Every operation since the last start: its kind and the name it was given.
        self.log: list[tuple[str, str]] = []
        self._folders: dict[str, Names] = {}
        self._point: Point | None = None
        self.on = True

    # -- what tests do to it ------------------------------------------------------------------

    def cut_at(self, point: Point | None) -> None:
        """End the program at ``point``."""
        self._point = point

    def restart(self, mode: str) -> None:
        """After a cut, or as one at once: what is left by ``mode`` is what there is."""
        if mode != KILL:
            for names in self._folders.values():
                self._settle(names, mode)
        self._point, self.on = None, True
        self.log = []

    def paths(self) -> list[str]:
        """All files, sorted."""
        return sorted(
            os.path.join(folder, name)
            for folder, names in self._folders.items()
            for name in names.seen
        )

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return len(self._inode(path).seen)

    def flip(self, path: str, byte: int, bit: int) -> None:
        """Change a bit of a file at rest."""
        inode = self._inode(path)
        for content in (inode.seen, inode.durable):
            if byte < len(content):
                content[byte] ^= 1 << bit

    # -- what programs do with it -------------------------------------------------------------

    def names(self, folder: str) -> list[str]:
        self._operation("names", folder)
        found = list(self._names(folder).seen)
        self.random.shuffle(found)
        return self._done(found)

    def open(self, path: str) -> BinaryIO:
        self._operation("open", path)
        return self._done(io.BytesIO(bytes(self._inode(path).seen)))

    def create(self, path: str) -> DiskFile:
        self._operation("create", path)
        names, name = self._place(path)
        if name in names.seen:
            raise FileExistsError(17, os.strerror(17), path)
        inode = names.seen[name] = Inode()
        names.waiting.append(("", name, inode))
        return self._done(CrashFile(self, path, inode, 0))

    def append(self, path: str, size: int) -> DiskFile:
        self._operation("append", path)
        inode = self._inode(path)
        if size < len(inode.seen):
            del inode.seen[size:]
            inode.waiting.append(size)
        return self._done(CrashFile(self, path, inode, size))

    def rename(self, old: str, new: str) -> None:
        self._operation("rename", new)
        names, name = self._place(old)
        inode = self._inode(old)
        assert os.path.dirname(old) == os.path.dirname(new)
        del names.seen[name]
        names.seen[os.path.basename(new)] = inode
        names.waiting.append((name, os.path.basename(new), inode))
        self._done()

    def remove(self, path: str) -> None:
        self._operation("remove", path)
        names, name = self._place(path)
        names.waiting.append((name, "", self._inode(path)))
        del names.seen[name]
        self._done()

    def sync_folder(self, folder: str) -> None:
        self._operation("sync_folder", folder)
        names = self._names(folder)
        names.durable = dict(names.seen)
        names.waiting.clear()
        self._done()

    def write(self, path: str, inode: Inode, offset: int, data: bytes) -> None:
        """``CrashFile.write``."""
        room = len(data)
        if self.capacity is not None:
            room = max(0, min(room, self.capacity - self._used() + len(inode.seen) - offset))
        try:
            self._operation("write", path)
        except OSError:
            put(inode, offset, data[: len(data) // 2])
            raise
        put(inode, offset, data[:room])
        if room < len(data):
            raise OSError(28, os.strerror(28), path)
        self._done()

    def sync(self, path: str, inode: Inode) -> None:
        """``CrashFile.sync``."""
        try:
            self._operation("sync", path)
        except OSError:
            # "fsyncgate": the system has given up on what waited, and calls it clean.
            inode.durable = arrived(inode, self.random, TORN)
            inode.waiting.clear()
            raise
        if inode.waiting:
            # What an earlier failure has lost stays lost.
            inode.durable = arrived(inode, self.random, ALL)
            inode.waiting.clear()
        self._done()

    # -- within -------------------------------------------------------------------------------

    def _operation(self, kind: str, path: str) -> None:
        if not self.on:
            raise Cut
        self.log.append((kind, os.path.basename(path)))
        number, point = len(self.log), self._point
        if point is not None and point.number == number and not point.after:
            self.on = False
            raise Cut
        for fault in self.faults:
            if fault.first <= number <= fault.last and kind in (fault.kinds or (kind,)):
                raise OSError(fault.error, os.strerror(fault.error), path)

    def _done(self, result: Any = None) -> Any:
        point = self._point
        if point is not None and point.number == len(self.log):
            self.on = False
            raise Cut
        return result

    def _names(self, folder: str) -> Names:
        return self._folders.setdefault(folder, Names())

    def _place(self, path: str) -> tuple[Names, str]:
        return self._names(os.path.dirname(path)), os.path.basename(path)

    def _inode(self, path: str) -> Inode:
        names, name = self._place(path)
        if name not in names.seen:
            raise FileNotFoundError(2, os.strerror(2), path)
        return names.seen[name]

    def _inodes(self) -> Iterator[Inode]:
        for names in self._folders.values():
            yield from names.seen.values()

    def _used(self) -> int:
        return sum(len(inode.seen) for inode in self._inodes())

    def _settle(self, names: Names, mode: str) -> None:
        """What a power cut leaves of a folder."""
        share = self.random.choice((0.1, 0.5, 0.9))
        for old, new, inode in names.waiting:
            happened = {ALL: True, NAMES: True, TORN: self.random.random() < share}
            if not happened.get(mode, False):
                continue
            if old and (names.durable.get(old) is inode or not new):
                names.durable.pop(old, None)
            if new:
                names.durable[new] = inode
        names.waiting.clear()
        names.seen = dict(names.durable)
        for inode in {id(inode): inode for inode in names.seen.values()}.values():
            inode.durable = arrived(inode, self.random, mode)
            inode.waiting.clear()
            inode.seen = bytearray(inode.durable)


class CrashFile(DiskFile):
    """A file open for writing."""

    def __init__(self, disk: CrashDisk, path: str, inode: Inode, offset: int) -> None:
        self._disk, self._path, self._inode, self._offset = disk, path, inode, offset

    def write(self, data: bytes | memoryview) -> None:
        copied = bytes(data)
        self._disk.write(self._path, self._inode, self._offset, copied)
        self._offset += len(copied)

    def sync(self) -> None:
        self._disk.sync(self._path, self._inode)

    def close(self) -> None:
        pass


def put(inode: Inode, offset: int, data: bytes) -> None:
    """Write, for the time being only where it can be seen."""
    if not data:
        return
    place(inode.seen, offset, data)
    inode.waiting.append((offset, data))


def place(content: bytearray, offset: int, data: bytes, filler: int = 0) -> None:
    """Write into ``content``, which grows; a hole before ``offset`` is filled with ``filler``."""
    content.extend(bytes([filler]) * (offset - len(content)))
    content[offset : offset + len(data)] = data


def arrived(inode: Inode, chance: random.Random, mode: str) -> bytearray:
    """A file's content after what waits has reached the disk, or a part of it."""
    content = bytearray(inode.durable)
    if mode in (NOTHING, NAMES):
        return content
    share = 1.0 if mode in (ALL, BYTES) else chance.choice((0.1, 0.5, 0.9))
    # Rubbish is what another file left in these sectors.
    filler = chance.choice((0, 0, 0xFF, 0xA5))
    for item in inode.waiting:
        if isinstance(item, int):
            if chance.random() < share:
                del content[item:]
            continue
        for offset, data in sectors(*item):
            if chance.random() < share:
                place(content, offset, data, filler)
            elif share < 1.0 and chance.random() < 0.1:
                place(content, offset, data[: chance.randrange(len(data) + 1)], filler)
    if share < 1.0 and chance.random() < 0.3:
        ends = [0 if isinstance(item, int) else item[0] + len(item[1]) for item in inode.waiting]
        place(content, max(ends, default=0), b"", filler)
    return content


def sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """A write as the disk takes it: (offset, bytes) for each sector it touches."""
    at = 0
    while at < len(data):
        length = min(len(data) - at, SECTOR - (offset + at) % SECTOR)
        yield offset + at, data[at : at + length]
        at += length
