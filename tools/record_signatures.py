"""Write the table of types that compiled libraries export, by watching kernels being called.

    python tools/record_signatures.py [PYTEST ARGUMENT ...]

Runs the tests (or those given) by Numba and notes with which types Python calls each kernel;
calls among kernels do not count. What stands in the table already stays, so that one test file
is enough after a new kernel: python tools/record_signatures.py tests/test_int8_step.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["FFEDGE_KERNELS"] = "jit"
os.environ.pop("NUMBA_DISABLE_JIT", None)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pytest
from numba import types
from numba.extending import typeof_impl

from ffedge.kernels import jit, signatures

_SCALARS: list[tuple[Any, str]] = [
    (bool, "b1"), (int, "i8"), (float, "f8"), (np.bool_, "b1"), (np.int32, "i4"),
    (np.uint32, "u4"), (np.float32, "f4"), (np.integer, "i8"), (np.floating, "f8"),
]  # fmt: skip

seen: dict[str, set[tuple[str, ...]]] = {}


class Recorder:
    """A kernel that notes the types of its arguments; to Numba it is the kernel itself."""

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher, self.py_func = dispatcher, dispatcher.py_func
        self.__name__, self.__module__ = self.py_func.__name__, self.py_func.__module__
        self.__doc__ = self.py_func.__doc__
        self._name = f"{self.__module__.removeprefix('ffedge.kernels.')}.{self.__name__}"

    def __call__(self, *arguments: Any) -> Any:
        if self.__module__.startswith("ffedge.kernels."):
            seen.setdefault(self._name, set()).add(tuple(map(word, arguments)))
        return self.dispatcher(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dispatcher, name)


def word(value: Any) -> str:
    """The word of ``signatures.txt`` for a value."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str[1:]}[{value.ndim}]"
    return next(code for kind, code in _SCALARS if isinstance(value, kind))


@typeof_impl.register(Recorder)
def _typeof(value: Recorder, _: Any) -> Any:
    return types.Dispatcher(value.dispatcher)


def line(name: str, all_: set[tuple[str, ...]]) -> str:
    """One line of the table; scalars of several types become the widest."""
    columns = []
    for column in zip(*all_, strict=True):
        words = sorted(set(column))
        if len(words) > 1 and "[" not in words[0]:
            words = [max(words, key=lambda code: (code[0] == "f", int(code[1])))]
        rest = words[0][2:]
        columns.append("|".join(found[:2] for found in words) + rest)
    return " ".join([name, *columns])


def main() -> int:
    """Run, merge and write; fails as pytest does."""
    original = jit.compiled
    jit.compiled = lambda function, options: Recorder(original(function, options))
    code = pytest.main(["-p", "no:cacheprovider", *(sys.argv[1:] or ["tests"])])
    for name, all_ in signatures.read_table().items():
        # A kernel with other arguments than before is taken as it was seen now.
        found = seen.setdefault(name, set())
        found |= {words for words in all_ if not found or len(words) == len(next(iter(found)))}
    lines = [line(name, all_) for name, all_ in sorted(seen.items())]
    signatures.TABLE.write_text("\n".join([*lines, ""]))
    print(f"{signatures.TABLE}: {len(lines)} kernels")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
