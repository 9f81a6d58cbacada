"""The device program as a Thumb object, for one core and one rule: a process of its own.

``python -m ffedge.firmware.thumb CORE RULE OBJECT``. Numba types and lowers the kernels for
32-bit addresses, without a run-time system; LLVM optimises them for the core and for size. Every
kernel keeps a readable name (``ff.int8.dense.forward``) and a section of its own, and the object
needs nothing from outside: a static proof that a step neither allocates nor raises.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingDependencyError
from ..kernels.int8.scalar_paths import CORTEX_M, SCALAR
from ..lowering.environment import LOWERING, package_path
from .cores import CORES, Core

#: C functions by rule: kernel and arguments; pointers are marked by a star. All return int32.
_TRAIN = ("u1*", "i4*", "f4*", "i4*", "u4*", "f4*", "i4")
_PREDICT = ("u1*", "i4*", "f4*", "f4*")
_STORE = {
    "ff_load_slot": ("device.entry.load", ("u4*", "i4*", "i4", "u4*", "u4*", "u4*", "i4")),
    "ff_save_begin": ("device.entry.save_begin", ("u4*", "u4*", "u4*")),
    "ff_save_next": (
        "device.entry.save_next",
        ("u4*", "u4*", "i4*", "i4", "u4*", "i4", "u4*", "u4*"),
    ),
}
EXPORTS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    rule: {
        "ff_train": (f"device.program.train_{rule}", _TRAIN),
        "ff_class": (f"device.program.predict_{rule}", _PREDICT),
        **_STORE,
    }
    for rule in ("readout", "group")
}

#: Kernels that stay functions: called often or from two places, or worth a line in a profile.
_KEPT = (
    "int8.dense.forward", "int8.dense.fill_words", "int8.dense.update_bias",
    "int8.scalar.listed_one", "int8.scalar.round_ones", "int8.scalar.round_more",
    "int8.stream.thin", "int8.stream.list_left", "int8.stream.update_one",
    "int8.readout.readout_scores",
    "int8.readout.readout_delta", "int8.readout.update_readout", "int8.delta.quantize_row",
    "int8.delta.quantize", "int8.delta.weight_shift", "int8.group.group_scores",
    "int8.group.group_delta", "int8.classes.class_errors", "int8.normalize.normalize_rows",
    "int8.input.quantize_features", "random.bits",
    "device.checkpoint.newest", "device.checkpoint.examine", "device.checkpoint.crc_word",
)  # fmt: skip


def lower(core: Core, rule: str) -> bytes:
    """The object of ``core`` and ``rule`` ("readout" or "group"); the same bytes every time.

    Raises ConfigError for a core without what the kernels need, MissingDependencyError without
    Numba.
    """
    if not core.fpu:
        raise ConfigError(
            f"firmware: expected a core with single-precision floats, got {core.title}: inputs are "
            "scaled and activities normalised in float32; take a board with a Cortex-M4F, M7 or M33"
        )
    if importlib.util.find_spec("numba") is None:
        raise MissingDependencyError("numba", "jit", "lowering the kernels for a board")
    with tempfile.TemporaryDirectory(prefix="ffedge-thumb-") as folder:
        output = Path(folder) / "program.o"
        done = subprocess.run(
            [sys.executable, "-m", "ffedge.firmware.thumb", core.name, rule, str(output)],
            env=os.environ | LOWERING | {
                "FFEDGE_SIMD": CORTEX_M if core.dsp else SCALAR, "PYTHONPATH": package_path(),
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise ConfigError(f"firmware: expected code for {core.title}, got an error: {last[0]}")
        return output.read_bytes()


def main(arguments: Sequence[str]) -> int:
    """Write the object."""
    name, rule, output = arguments
    _with_32_bits()
    from . import thumb_ir

    Path(output).write_bytes(thumb_ir.lower(CORES[name], EXPORTS[rule], _KEPT))
    return 0


def _with_32_bits() -> None:
    """Make this process's Numba take addresses and sizes for 32 bits; nothing runs in it."""

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
            if name != "numba.core.config":
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.loader is not None
            load: Callable[[Any], None] = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                module.MACHINE_BITS = 32
                module.IS_32BITS = True

            setattr(spec.loader, "exec_module", exec_module)  # noqa: B010
            return spec

    sys.meta_path.insert(0, Finder())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
