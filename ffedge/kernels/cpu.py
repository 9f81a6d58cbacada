"""Which vector paths this processor can run; the one place that knows what each path needs.

Asked of the kernel (``/proc/cpuinfo``), so that a compiled library needs no LLVM beside it.
Names are LLVM's, since the same table tells LLVM what a path may use.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

#: Where Linux and LLVM use different words.
_LLVM_NAMES = {
    "abm": "lzcnt",
    "asimd": "neon",
    "asimddp": "dotprod",
    "avx512_vnni": "avx512vnni",
    "avx_vnni": "avxvnni",
    "bmi1": "bmi",
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
}

_AVX2 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "sse4.2", "ssse3", "popcnt")
_AVX512 = (*_AVX2, "avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512cd")

#: By architecture and path, best path first: the features that code for it may use.
INT8_PATHS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx512vnni": (*_AVX512, "avx512vnni"),
        "avxvnni": (*_AVX2, "avxvnni"),
        "avx2": _AVX2,
        "ssse3": ("ssse3",),
        "generic": (),
    },
    "aarch64": {"dotprod": ("dotprod",), "neon": (), "generic": ()},
}
FLOAT_PATHS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"avx512": _AVX512, "avx2": _AVX2, "sse": ()},
    "aarch64": {"neon": ()},
}

#: One word of ``FFEDGE_SIMD`` forces both precisions.
INT8_WORDS = {"avx512": "avx512vnni", "sse": "ssse3"}


def architecture(machine: str | None = None) -> str:
    """``x86_64``, ``aarch64`` or the machine's own name."""
    machine = platform.machine() if machine is None else machine
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def parse(text: str) -> frozenset[str]:
    """Features that every processor of a ``/proc/cpuinfo`` has, by LLVM's names."""
    found = []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            found.append(frozenset(_LLVM_NAMES.get(name, name) for name in value.split()))
    return frozenset.intersection(*found) if found else frozenset()


#: Linux's number of the word with an Arm processor's abilities, and bits of it.
_AT_HWCAP = 16
_HWCAPS = {"neon": 1, "crc": 7, "dotprod": 20}


def _auxiliary(number: int) -> int:
    """A word of the process's auxiliary vector; 0 if it cannot be had."""
    try:
        ask = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):
        return 0
    ask.restype, ask.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return int(ask(number))


@cache
def features() -> frozenset[str]:
    """This machine's; empty where ``/proc/cpuinfo`` cannot be read.

    64-bit Arm tells every process directly, also in emulators and where /proc is missing.
    """
    if architecture() == "aarch64":
        bits = _auxiliary(_AT_HWCAP)
        if bits:
            return frozenset(name for name, bit in _HWCAPS.items() if bits >> bit & 1)
    try:
        return parse(Path("/proc/cpuinfo").read_text(errors="replace"))
    except OSError:
        return frozenset()


def seen_by_llvm(found: Mapping[str, bool]) -> frozenset[str]:
    """LLVM's own table of this machine as a set."""
    return frozenset(name for name, there in found.items() if there)


def runnable(paths: dict[str, tuple[str, ...]], has: Iterable[str]) -> tuple[str, ...]:
    """Of one architecture's ``paths`` those whose features are all there, best first."""
    present = frozenset(has)
    return tuple(path for path, needs in paths.items() if present.issuperset(needs))


def chosen(
    families: dict[str, dict[str, tuple[str, ...]]], words: dict[str, str] | None = None
) -> str:
    """The path in use on this machine: what ``FFEDGE_SIMD`` asks for, or the best."""
    paths = runnable(families.get(architecture(), {"generic": ()}), features())
    wanted = forced(words)
    return wanted if wanted in paths else paths[0]


def forced(words: dict[str, str] | None = None) -> str:
    """The path that ``FFEDGE_SIMD`` asks for, or ""."""
    word = os.environ.get("FFEDGE_SIMD", "")
    return (words or {}).get(word, word)
