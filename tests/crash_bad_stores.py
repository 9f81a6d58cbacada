"""Ways to keep states that lose them: the real store on a disk that is used wrongly, and others.

Each is the right way but for one mistake, and each must fail the tests that the real store passes.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from typing import Any

import numpy as np
from crash_trainings import FOLDER, Array, MakeStore, real_store

from ffedge.disk import Disk, DiskFile
from ffedge.errors import CheckpointError

HEAD = struct.Struct("<QIII")


class Through(Disk):
    """Hands every call on."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        for name in ("names", "open", "create", "append", "rename", "remove", "sync_folder"):
            if name not in type(self).__dict__:
                setattr(self, name, getattr(disk, name))


class ThroughFile(DiskFile):
    """Hands every call on."""

    def __init__(self, file: DiskFile) -> None:
        self._inner = file
        for name in ("write", "sync", "close"):
            if name not in type(self).__dict__:
                setattr(self, name, getattr(file, name))


class NeverSynced(ThroughFile):
    def sync(self) -> None:
        pass


class SyncFailureIgnored(ThroughFile):
    def sync(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.sync()


class SyncTriedAgain(ThroughFile):
    def sync(self) -> None:
        try:
            self._inner.sync()
        except OSError:
            self._inner.sync()


class ShortWriteIgnored(ThroughFile):
    def write(self, data: bytes | memoryview) -> None:
        with contextlib.suppress(OSError):
            self._inner.write(data)


class FileNotSyncedBeforeRename(Through):
    def create(self, path: str) -> DiskFile:
        return NeverSynced(self._disk.create(path))


class AppendNotSynced(Through):
    def append(self, path: str, size: int) -> DiskFile:
        return NeverSynced(self._disk.append(path, size))


class FolderNotSynced(Through):
    def sync_folder(self, folder: str) -> None:
        pass


def through(wrapper: type[ThroughFile]) -> type[Through]:
    """A disk whose written files are all wrapped."""

    class Wrapped(Through):
        def create(self, path: str) -> DiskFile:
            return wrapper(self._disk.create(path))

        def append(self, path: str, size: int) -> DiskFile:
            return wrapper(self._disk.append(path, size))

    return Wrapped


class PlainStore:
    """A right store of another make: each state whole, in its own file, the two newest kept."""

    def __init__(self, disk: Disk, arrays: dict[str, Array]) -> None:
        self._disk = disk
        self._number = max((int(name[:8]) for name in self._names()), default=0)

    def _names(self) -> list[str]:
        return sorted((n for n in self._disk.names(FOLDER) if n.endswith(".state")), reverse=True)

    def save(self, facts: dict[str, Any], arrays: dict[str, Array]) -> int:
        """As ``CheckpointStore.save``."""
        self._number += 1
        text = json.dumps(facts).encode()
        payload = b"".join(array.tobytes() for array in arrays.values())
        head = HEAD.pack(self._number, len(text), len(payload), zlib.crc32(text + payload))
        # In three pieces, as a large one would be.
        self._write([head, text + payload[:1000], payload[1000:3000], payload[3000:]])
        return len(head) + len(text) + len(payload)

    def _write(self, pieces: list[bytes]) -> None:
        temporary, name = self._path(f".{os.urandom(4).hex()}"), f"{self._number:08d}.state"
        with self._disk.create(temporary) as file:
            for piece in pieces:
                file.write(piece)
            file.sync()
        self._disk.rename(temporary, self._path(name))
        self._disk.sync_folder(FOLDER)
        self._remove(2)

    def _remove(self, kept: int) -> None:
        for name in self._names()[kept:]:
            with contextlib.suppress(OSError):
                self._disk.remove(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(FOLDER, name)

    def load(self, arrays: dict[str, Array]) -> dict[str, Any] | None:
        """As ``CheckpointStore.load``."""
        names = self._candidates()
        for name in names:
            with self._disk.open(self._path(name)) as file:
                found = self._read(name, file.read(), arrays)
            if found is not None:
                return found
        if names:
            raise CheckpointError(f"{FOLDER}: expected a whole state, got none")
        return None

    def _read(self, name: str, data: bytes, arrays: dict[str, Array]) -> dict[str, Any] | None:
        return self._parse(data, arrays)

    def _candidates(self) -> list[str]:
        return self._names()

    def _parse(self, data: bytes, arrays: dict[str, Array]) -> dict[str, Any] | None:
        if len(data) < HEAD.size:
            return None
        _, text, payload, checksum = HEAD.unpack_from(data)
        wanted = sum(array.nbytes for array in arrays.values())
        if payload != wanted or len(data) != HEAD.size + text + payload:
            return None
        if not self._believes(data, checksum):
            return None
        at = HEAD.size + text
        for array in arrays.values():
            part = np.frombuffer(data[at : at + array.nbytes], array.dtype)
            array[:] = part.reshape(array.shape)
            at += array.nbytes
        try:
            facts = json.loads(data[HEAD.size : HEAD.size + text])
            return facts if "number" in facts else None
        except ValueError:
            return None

    def _believes(self, data: bytes, checksum: int) -> bool:
        return zlib.crc32(data[HEAD.size :]) == checksum


class WithoutChecksum(PlainStore):
    def _believes(self, data: bytes, checksum: int) -> bool:
        return True


class NewestTrusted(PlainStore):
    """By its name, which it has from the start; never looks at the one before."""

    def _write(self, pieces: list[bytes]) -> None:
        with self._disk.create(self._path(f"{self._number:08d}.state")) as file:
            for piece in pieces:
                file.write(piece)
            file.sync()
        self._disk.sync_folder(FOLDER)
        self._remove(2)

    def _candidates(self) -> list[str]:
        return self._names()[:1]


class OldRemovedFirst(PlainStore):
    """To have the room for the new one."""

    def _write(self, pieces: list[bytes]) -> None:
        self._remove(0)
        super()._write(pieces)


class OldRemovedBeforeSync(PlainStore):
    """Once the new one has its name, but not yet to stay."""

    def _write(self, pieces: list[bytes]) -> None:
        temporary, name = self._path(f".{os.urandom(4).hex()}"), f"{self._number:08d}.state"
        with self._disk.create(temporary) as file:
            for piece in pieces:
                file.write(piece)
            file.sync()
        self._disk.rename(temporary, self._path(name))
        self._remove(1)
        self._disk.sync_folder(FOLDER)


class Overwritten(PlainStore):
    """One file, written over in place."""

    def _write(self, pieces: list[bytes]) -> None:
        name = f"{1:08d}.state"
        if name in self._names():
            file = self._disk.append(self._path(name), 0)
        else:
            file = self._disk.create(self._path(name))
        with file:
            for piece in pieces:
                file.write(piece)
            file.sync()
        self._disk.sync_folder(FOLDER)


class Log(PlainStore):
    """A right one that appends whole states; each process begins a file of its own."""

    _file: str | None = None
    _size = 0

    def _write(self, pieces: list[bytes]) -> None:
        name, self._file = self._file, None
        if name is None:
            super()._write(pieces)
            name, self._size = f"{self._number:08d}.state", 0
        else:
            with self._disk.append(self._path(name), self._size) as file:
                for piece in pieces:
                    file.write(piece)
                file.sync()
        self._size += sum(len(piece) for piece in pieces)
        self._file = name

    def _read(self, name: str, data: bytes, arrays: dict[str, Array]) -> dict[str, Any] | None:
        found, at = None, 0
        while len(data) - at >= HEAD.size:
            _, text, payload, _ = HEAD.unpack_from(data, at)
            one = self._parse(data[at : at + HEAD.size + text + payload], arrays)
            if one is None:
                break
            found, at = one, at + HEAD.size + text + payload
        if found is not None:
            self._found(name, at, len(data))
        return found

    def _found(self, name: str, whole: int, size: int) -> None:
        """Its file ``name`` has ``whole`` bytes of whole states, and ``size`` in all."""


class LogOfAnotherGoneOnWith(Log):
    """Without asking whether its name, and all of its bytes, are there to stay."""

    def _found(self, name: str, whole: int, size: int) -> None:
        self._file, self._size = name, whole


class TornTailKept(Log):
    """Appends at the end of the file, whatever lies there."""

    def _found(self, name: str, whole: int, size: int) -> None:
        self._file, self._size = name, size
        self._disk.sync_folder(FOLDER)


def on(wrong: type[Through]) -> MakeStore:
    """The real store on a disk that is used wrongly."""
    return lambda disk, arrays: real_store(wrong(disk), arrays)


#: Store, what catches it, and what does not: it is caught for what it does wrong.
BAD_STORES: dict[str, tuple[MakeStore, tuple[str, ...], tuple[str, ...]]] = {
    "file not synced before the rename":
        (on(FileNotSyncedBeforeRename), ("names first", "torn"), ("killed",)),
    "append not synced":
        (on(AppendNotSynced), ("power lost", "names first", "torn"), ("killed",)),
    "folder not synced":
        (on(FolderNotSynced), ("power lost", "bytes first"), ("killed",)),
    "failed sync ignored":
        (on(through(SyncFailureIgnored)), ("sync failed",), ("power lost", "torn")),
    "failed sync tried again":
        (on(through(SyncTriedAgain)), ("sync failed",), ("power lost", "torn")),
    "short write ignored":
        (on(through(ShortWriteIgnored)), ("disk full",), ("power lost", "torn")),
    "torn tail kept": (TornTailKept, ("killed", "torn"), ("power lost", "names first")),
    "log of another process gone on with":
        (LogOfAnotherGoneOnWith, ("killed, power lost", "sync failed"), ("killed", "power lost")),
    "overwritten in place": (Overwritten, ("killed", "torn"), ("power lost",)),
    "no checksum": (WithoutChecksum, ("bit flipped",), ("killed", "torn")),
    "old removed first": (OldRemovedFirst, ("killed", "disk full"), ("power lost",)),
    "old removed before the sync": (OldRemovedBeforeSync, ("torn",), ("killed", "power lost")),
    "newest trusted by its name": (NewestTrusted, ("killed", "names first"), ("power lost",)),
}  # fmt: skip
