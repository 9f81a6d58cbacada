"""Words of four bytes, which microcontrollers compute on: the building blocks of ``scalar``.

A word is a uint32 with the bytes of four neighbours in memory. Cortex-M4, M7 and M33 have
instructions for four bytes at once, or two halves; elsewhere LLVM makes the same of vectors of
four, and plain Python counts byte by byte. Bytes are unsigned, since the smallest emulator knows
no signed sums that saturate.

``dot_word(total, x, w)``
    ``total`` (int32) plus the four products of u7 bytes of x and s8 bytes of w

``add_bytes(one, other)``
    the sums of the bytes, modulo 256

``add_capped(one, other)``
    the same, but 255 where they are more

``carries(one, other)``
    a byte of 1 where the sum is more than 255, else 0

``differing(one, other)``
    how many bytes differ, int32
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..provider import COMPILES
from .scalar_paths import CORTEX_M


def _plain_dot_word() -> Callable[..., int]:
    def dot_word(total, x, w):
        for byte in range(4):
            u, s = int(x) >> 8 * byte & 0xFF, int(w) >> 8 * byte & 0xFF
            total = np.int32(int(total) + u * (s - 256 if s > 127 else s))
        return total

    return dot_word


def _plain_sums(finish: Callable[[int], int]) -> Callable[..., int]:
    def of_sums(one, other):
        total = 0
        for byte in range(0, 32, 8):
            total |= finish((int(one) >> byte & 0xFF) + (int(other) >> byte & 0xFF)) << byte
        return np.uint32(total)

    return of_sums


def _plain_differing() -> Callable[..., int]:
    def differing(one, other):
        return sum((int(one) ^ int(other)) >> byte & 0xFF != 0 for byte in range(0, 32, 8))

    return differing


class _Bytes:
    """LLVM for the functions above: Cortex-M's DSP instructions, or vectors of four."""

    def __init__(self, builder: Any, dsp: bool) -> None:
        from llvmlite import ir

        self.ir, self.builder, self.dsp = ir, builder, dsp
        self.i32 = ir.IntType(32)
        self.four = ir.VectorType(ir.IntType(8), 4)

    def call(self, name: str, *arguments: Any) -> Any:
        from numba.core import cgutils

        result = arguments[0].type
        kind = self.ir.FunctionType(result, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}")
        return self.builder.call(function, arguments)

    def split(self, word: Any) -> Any:
        return self.builder.bitcast(word, self.four)

    def join(self, four: Any) -> Any:
        return self.builder.bitcast(four, self.i32)

    def dot_word(self, total: Any, x: Any, w: Any) -> Any:
        build = self.builder
        if self.dsp:
            for turn in (False, True):
                # A rotation is part of the extension; a shift is an instruction of its own.
                u, s = (
                    self.call("fshr.i32", word, word, self.i32(8)) if turn else word
                    for word in (x, w)
                )
                pair = self.call("arm.uxtb16", u), self.call("arm.sxtb16", s)
                total = self.call("arm.smlad", *pair, total)
            return total
        for byte in range(4):
            u = build.and_(build.lshr(x, self.i32(8 * byte)), self.i32(255))
            s = build.ashr(build.shl(w, self.i32(24 - 8 * byte)), self.i32(24))
            total = build.add(total, build.mul(u, s))
        return total

    def add_bytes(self, one: Any, other: Any) -> Any:
        if self.dsp:
            return self.call("arm.uadd8", one, other)
        return self.join(self.builder.add(self.split(one), self.split(other)))

    def add_capped(self, one: Any, other: Any) -> Any:
        if self.dsp:
            return self.call("arm.uqadd8", one, other)
        return self.join(self.call("uadd.sat.v4i8", self.split(one), self.split(other)))

    def carries(self, one: Any, other: Any) -> Any:
        build = self.builder
        if self.dsp:
            self.call("arm.uadd8", one, other)
            return self.call("arm.sel", self.i32(0x01010101), self.i32(0))
        more = self.split(other)
        carry = build.icmp_unsigned("<", build.add(self.split(one), more), more)
        return self.join(build.zext(carry, self.four))

    def differing(self, one: Any, other: Any) -> Any:
        # A byte that is not 0 carries when 255 are added.
        marks = self.carries(self.builder.xor(one, other), self.i32(0xFFFFFFFF))
        return self.builder.lshr(self.builder.mul(marks, self.i32(0x01010101)), self.i32(24))


def _lowered(name: str) -> Callable[..., Any]:
    from numba import types
    from numba.extending import intrinsic

    from .vector import PATH

    word = types.uint32
    kinds = {
        "dot_word": types.int32(types.int32, word, word),
        "add_bytes": word(word, word),
        "add_capped": word(word, word),
        "carries": word(word, word),
        "differing": types.int32(word, word),
    }

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(_Bytes(builder, PATH == CORTEX_M), name)(*args)

    def of_two(typing, a, b):
        return kinds[name], codegen

    def of_three(typing, a, b, c):
        return kinds[name], codegen

    typed: Any = of_two if len(kinds[name].args) == 2 else of_three
    made: Callable[..., Any] = intrinsic(typed)
    return made


if COMPILES:
    dot_word, add_bytes, add_capped = (
        _lowered(name) for name in ("dot_word", "add_bytes", "add_capped")
    )
    carries, differing = _lowered("carries"), _lowered("differing")
else:
    dot_word, differing = _plain_dot_word(), _plain_differing()
    add_bytes, add_capped = _plain_sums(lambda n: n & 255), _plain_sums(lambda n: min(n, 255))
    carries = _plain_sums(lambda n: n >> 8)
