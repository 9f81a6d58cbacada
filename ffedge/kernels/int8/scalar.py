"""The primitives of a single sample for processors without vectors: loops over 32-bit words.

The formulas and arguments are those of ``single``. A word holds four inputs, or the weights of
one unit for them; Cortex-M cores with the DSP instructions multiply two pairs at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import PANEL
from ..provider import COMPILES, kernel
from ..views import bytes_at, words_at
from .scalar_paths import CORTEX_M


def _plain_dot_word() -> Callable[..., int]:
    def dot_word(total, x, w):
        for byte in range(4):
            u, s = int(x) >> 8 * byte & 0xFF, int(w) >> 8 * byte & 0xFF
            total = np.int32(int(total) + u * (s - 256 if s > 127 else s))
        return total

    return dot_word


def _lowered_dot_word(dsp: bool) -> Callable[..., int]:
    """``total`` (int32) plus the four products of u7 bytes of x and s8 bytes of w (uint32)."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    i32 = ir.IntType(32)

    def call(builder: Any, name: str, *arguments: Any) -> Any:
        kind = ir.FunctionType(i32, [i32] * len(arguments))
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.arm.{name}")
        return builder.call(function, arguments)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, x, w = args
        if dsp:
            for turn in range(2):
                fall = builder.lshr(x, i32(8)), builder.lshr(w, i32(8))
                u, s = fall if turn else (x, w)
                pair = call(builder, "uxtb16", u), call(builder, "sxtb16", s)
                total = call(builder, "smlad", *pair, total)
            return total
        for byte in range(4):
            u = builder.and_(builder.lshr(x, i32(8 * byte)), i32(255))
            s = builder.ashr(builder.shl(w, i32(24 - 8 * byte)), i32(24))
            total = builder.add(total, builder.mul(u, s))
        return total

    @intrinsic
    def dot_word(typing, total, x, w):
        return types.int32(types.int32, types.uint32, types.uint32), codegen

    return dot_word


def _dot_word() -> Callable[..., int]:
    if not COMPILES:
        return _plain_dot_word()
    from .vector import PATH

    return _lowered_dot_word(PATH == CORTEX_M)


dot_word = _dot_word()


@kernel()
def listed_one(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0):
    """See ``single``; four units at a time share the loads of the inputs."""
    x, w = words_at(a, a0), words_at(b, b0)
    for first in range(0, PANEL, 4):
        s0, s1 = bias[bias0 + first], bias[bias0 + first + 1]
        s2, s3 = bias[bias0 + first + 2], bias[bias0 + first + 3]
        for t in range(count):
            k = index[t]
            word, at = x[k], PANEL * k + first
            s0, s1 = dot_word(s0, word, w[at]), dot_word(s1, word, w[at + 1])
            s2, s3 = dot_word(s2, word, w[at + 2]), dot_word(s3, word, w[at + 3])
        store_activity(s0, shift, y, y0 + first)
        store_activity(s1, shift, y, y0 + first + 1)
        store_activity(s2, shift, y, y0 + first + 2)
        store_activity(s3, shift, y, y0 + first + 3)


@kernel()
def store_activity(total, shift, y, at):
    """``y[at] = clip(total >> shift, 0, 127)``"""
    value = np.int32(total >> np.int32(shift))
    bytes_at(y, at)[0] = np.uint8(min(max(value, np.int32(0)), np.int32(127)))


@kernel()
def round_panel(ones, inputs, index, count, d, d0, units, w, w0):
    """``round_ones`` or ``round_more`` of ``single``: all-zero bytes of a column are passed by."""
    weights, changed = bytes_at(w, w0), np.int32(0)
    for t in range(count):
        k = np.int32(index[t])
        column = inputs[4 * k] if ones else inputs[4 * k + 2]
        noises, line = inputs[4 * k + 1], np.int32(4 * PANEL * k)
        for j in range(4):
            x = np.int32(np.int32(column >> np.uint32(8 * j)) & np.int32(1 if ones else 255))
            if x == 0:
                continue
            n = np.int32(noises >> np.uint32(8 * j))
            for lane in range(PANEL):
                noise = np.int32(np.int32(n + np.int32(units[d0 + lane])) & np.int32(255))
                step = np.int32(np.int32(x * d[d0 + lane] + noise) >> np.int32(8))
                if step != 0:
                    at = line + 4 * lane + j
                    old = np.int32(np.int8(weights[at]))
                    new = min(max(np.int32(old + step), np.int32(-127)), np.int32(127))
                    weights[at] = np.uint8(new & np.int32(255))
                    changed = np.int32(changed + (new != old))
    return changed


@kernel()
def round_ones(inputs, index, count, d, d0, units, w, w0):
    """See ``single``."""
    return round_panel(True, inputs, index, count, d, d0, units, w, w0)


@kernel()
def round_more(inputs, index, count, d, d0, units, w, w0):
    """See ``single``."""
    return round_panel(False, inputs, index, count, d, d0, units, w, w0)


@kernel()
def dot(a, a0, b, b0, count):
    """See ``single``."""
    x, w, total = words_at(a, a0), words_at(b, b0), np.int32(0)
    for k in range(count // 4):
        total = dot_word(total, x[k], w[k])
    return total


@kernel()
def any_of_four(a, a0):
    """See ``single``."""
    return words_at(a, a0)[0] != np.uint32(0)
