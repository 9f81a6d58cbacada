"""Runs a reader on bytes and says whether it crashed.

A reader may return, or raise an FFEdgeError of one bounded message. A crash is everything else:
another exception, a warning, an allocation out of proportion, too much time, and, where
``watch_process`` was called, any code, process, library or file that is not the reader's own.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import signal
import sys
import traceback
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffedge.errors import FFEdgeError

Reader = Callable[[bytes], None]

MIB = 1 << 20

#: Bytes that a reader may hold whatever the input: chunks of 1 MiB and their conversions, and some
#: copies of a line of 2 MiB out of a .gz.
BASE_BYTES = 20 * MIB

#: Bytes beyond that for each byte of the input: an empty list of 3 characters takes 64.
PROPORTION = 48

#: Seconds of processor time whatever the input, and for each MiB of it.
BASE_SECONDS, SECONDS_PER_MIB = 2.0, 4.0

#: Characters of a message.
MAX_MESSAGE = 2000

#: Memory that a leak may take before it counts, since the caches were filled by ``WARM`` inputs.
LEAK_BYTES = 96 * MIB
WARM = 500

#: What no reader of files may do. "open" is looked at apart.
FORBIDDEN = (
    "compile", "exec", "ctypes.", "code.__new__", "marshal.", "pickle.", "os.system", "os.exec",
    "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "os.link", "os.symlink", "os.chmod",
    "os.chown", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.putenv",
    "os.kill", "os.chdir", "subprocess.", "socket.", "shutil.copy", "shutil.move",
    "shutil.rmtree", "shutil.unpack_archive", "urllib.", "http.", "ftplib.", "webbrowser.",
    "sqlite3.", "pty.", "cpython.run_", "sys.setprofile", "sys.settrace", "signal.pthread_kill",
)  # fmt: skip


_M_MMAP_THRESHOLD = -3

#: What is allowed in the reader's own folder, and how many paths it takes.
_IN_THE_FOLDER = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.rename": 2}


class Stopped(BaseException):
    """Raised inside a reader; no ``except Exception`` may catch it."""


class _Hang(Stopped):
    """Too much processor time."""


class _Forbidden(Stopped):
    """An action that no reader may take."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """crash: None, or what happened, in one line. refused: whether an FFEdgeError was raised."""

    refused: bool = False
    crash: str | None = None
    trace: str = ""


@dataclass(slots=True)
class _State:
    """The input in hand: where files may be, and what was found that no exception tells."""

    active: bool = False
    folder: str = ""
    found: str = ""
    start: int = 0
    seen: int = 0


_state = _State()


def examine(read: Reader, data: bytes, *, traced: bool = True) -> Verdict:
    """Run ``read`` on ``data``, on the main thread. traced: count its allocations as well."""
    seconds = BASE_SECONDS + SECONDS_PER_MIB * len(data) / MIB
    before = signal.signal(signal.SIGPROF, _too_long)
    hook, sys.unraisablehook = sys.unraisablehook, _unraisable
    _state.found = ""
    if traced:
        tracemalloc.start()
    # Repeated: the first may fall into a finaliser, which swallows it.
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.25)
    _state.active = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            verdict = _run(read, data)
    except _Hang as error:  # between two lines of ``_run``
        verdict = Verdict(crash=f"hang: {error}")
    finally:
        _state.active = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.unraisablehook = hook
        signal.signal(signal.SIGPROF, before)
        peak = tracemalloc.get_traced_memory()[1] if traced else 0
        if traced:
            tracemalloc.stop()
    allowed = allowance(len(data))
    if verdict.crash is None and _state.found:
        return Verdict(crash=_state.found)
    if verdict.crash is None and peak > allowed:
        return Verdict(
            verdict.refused, f"allocation: {peak:,} B for {len(data):,} B, allowed {allowed:,} B"
        )
    return verdict


def allowance(nbytes: int) -> int:
    """Bytes that a reader may hold at once for an input of ``nbytes``."""
    return BASE_BYTES + PROPORTION * nbytes


def _run(read: Reader, data: bytes) -> Verdict:
    try:
        try:
            read(data)
        finally:
            # From here on files may be opened again, and sources of a traceback are.
            _state.active = False
            signal.setitimer(signal.ITIMER_PROF, 0)
    except FFEdgeError as error:
        words = str(error)
        if not words or len(words) > MAX_MESSAGE:
            return Verdict(True, f"message of {len(words):,} characters: {words[:80]!r}")
        return Verdict(True)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Verdict(crash=_words(error), trace=traceback.format_exc(limit=-12))
    return Verdict()


def _words(error: BaseException) -> str:
    words = " ".join(str(error)[:300].split())[:200]
    if isinstance(error, _Hang):
        return f"hang: {words}"
    if isinstance(error, _Forbidden):
        return f"forbidden: {words}"
    if isinstance(error, MemoryError):
        return f"allocation: refused by the system's limit {words}".strip()
    return f"{type(error).__name__}: {words}"


def _too_long(signal_number: int, frame: Any) -> None:
    raise _Hang("more processor time than its size allows")


def _unraisable(about: Any) -> None:
    # Python collects garbage at any depth: beside its limit even a sound finaliser finds no room.
    if about.exc_type is not RecursionError:
        _state.found = f"unraisable: {about.exc_type.__name__}: {about.exc_value}"


def watch_process(folder: Path) -> None:
    """For the rest of this process: readers may open files in ``folder`` only, and run nothing.

    Their memory is limited by the system too, which also counts what Python does not see.
    """
    _state.folder = str(folder.resolve())
    # Else the C library keeps up to 64 MiB of what was freed, which would look like a leak.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MIB)
    sys.addaudithook(_audit)


def limit_memory(nbytes: int) -> str | None:
    """Let the next input take so many bytes; a leak of those before, in words."""
    base = _data_bytes()
    _state.seen += 1
    # Half as much again, for the allocator's own rounding.
    room = nbytes * 3 // 2
    resource.setrlimit(resource.RLIMIT_DATA, (base + room, resource.RLIM_INFINITY))
    if _state.seen == WARM:
        _state.start = base
    if _state.seen > WARM and base - _state.start > LEAK_BYTES:
        gc.collect()
        grown = _data_bytes() - _state.start
        if grown > LEAK_BYTES:
            _state.start += grown
            return f"leak: {grown:,} B of memory are not given back"
    return None


def lift_memory_limit() -> None:
    """No limit of memory any more."""
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _data_bytes() -> int:
    """Private writable memory of this process, which RLIMIT_DATA limits, and its stack."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state.active:
        return
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, (str, bytes)):
            return
        if _inside(path):
            return
        # Nothing is written elsewhere; what Python imports late is read elsewhere.
        if flags & 3 == 0 and _importing():
            return
        _forbid(f"opened {path!r:.120}")
    elif event.startswith(FORBIDDEN):
        if event in _IN_THE_FOLDER and all(map(_inside, arguments[: _IN_THE_FOLDER[event]])):
            return
        if event.startswith(("compile", "exec", "marshal.", "code.")) and _importing():
            return
        _forbid(f"{event} {arguments!r:.120}")


def _inside(path: Any) -> bool:
    name = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
    # The folder itself is opened for a temporary file without a name.
    return f"{name}/".startswith(_state.folder + "/") and ".." not in name.split("/")


def _importing() -> bool:
    """Whether this happens inside an import statement, or shows a traceback's own lines."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _forbid(words: str) -> None:
    # Kept as well: a reader that catches everything must not hide it.
    _state.found = f"forbidden: {words}"
    raise _Forbidden(words)
