"""One record of a state file: what stands in it, and how it is told from a torn one.

    4 B   "FFST"
    4 B   format, 1
    4 B   kind: 0 all arrays (base), 1 changes since the record before (delta)
    8 B   sequence number
    4 B   bytes N of the JSON that follows
    8 B   bytes M of the payload
    N B   JSON: {"facts": ..., "arrays": [[name, dtype, shape], ...]}, arrays in a base only
    M B   base: the arrays' bytes, C order, one behind the other
          delta: pieces, each 8 B offset into those bytes, 8 B length, then the bytes
    4 B   CRC-32 of all before

All numbers are little-endian. A file is a base and any number of deltas; a record that was not
written to its end fails its lengths or its checksum, and with it all that follows.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from .disk import DiskFile
from .errors import CheckpointError

Array = np.ndarray[Any, Any]

MAGIC, FORMAT = b"FFST", 1
BASE, DELTA = 0, 1
HEAD = struct.Struct("<4sIIQIQ")
PIECE = struct.Struct("<QQ")
TAIL = struct.Struct("<I")

#: A longer JSON is not ours.
MAX_JSON = 16 << 20

#: Bytes read at a time where they are only looked at.
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was found whole.

    start: of its payload in the file. end: first byte behind the record. table: of a base: the
    arrays' names, dtypes and shapes as lists.
    """

    kind: int
    sequence: int
    facts: dict[str, Any]
    table: list[Any]
    start: int
    payload: int
    end: int


def table_of(arrays: Mapping[str, Array]) -> list[Any]:
    """Names, dtypes and shapes, as they stand in a base."""
    return [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]


class Writer:
    """Writes one record; the checksum grows with it."""

    def __init__(
        self, file: DiskFile, kind: int, sequence: int, about: dict[str, Any], payload: int
    ) -> None:
        text = json.dumps(about, separators=(",", ":")).encode()
        self._file, self._sum, self.nbytes = file, 0, 0
        self.write(HEAD.pack(MAGIC, FORMAT, kind, sequence, len(text), payload))
        self.write(text)

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes of the payload."""
        self._sum = zlib.crc32(data, self._sum)
        self._file.write(data)
        self.nbytes += len(data)

    def finish(self) -> int:
        """The checksum; all bytes of the record."""
        self._file.write(TAIL.pack(self._sum))
        return self.nbytes + TAIL.size


def read_record(file: BinaryIO, first: int, size: int) -> Record | None:
    """The record at byte ``first`` of a file of ``size`` bytes, checked to its end; None if torn.

    Raises CheckpointError for a whole one of another format.
    Nothing is allocated by what it says of itself before that has been held against ``size``.
    """
    file.seek(first)
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    magic, version, kind, sequence, length, payload = HEAD.unpack(head)
    end = first + HEAD.size + length + payload + TAIL.size
    if magic != MAGIC or kind not in (BASE, DELTA):
        return None
    if length > MAX_JSON or end > size:
        return None
    text = file.read(length)
    found = zlib.crc32(text, zlib.crc32(head))
    for piece in _pieces(file, payload):
        found = zlib.crc32(piece, found)
    if file.read(TAIL.size) != TAIL.pack(found):
        return None
    if version != FORMAT:
        raise CheckpointError(
            f"checkpoint: expected a training state of format {FORMAT}, got format {version}; a "
            "newer ffedge wrote it: update ffedge, or remove the folder to begin anew"
        )
    try:
        about = json.loads(text)
        facts, table = about["facts"], about["arrays"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(facts, dict) or not isinstance(table, list):
        return None
    start = first + HEAD.size + length
    return Record(kind, sequence, facts, table, start, payload, end)


def _pieces(file: BinaryIO, nbytes: int) -> Iterator[bytes]:
    while nbytes > 0 and (piece := file.read(min(CHUNK, nbytes))):
        yield piece
        nbytes -= len(piece)
