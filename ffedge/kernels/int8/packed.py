"""Words of four bytes, which microcontrollers compute on: the building blocks of ``scalar``.

A word is a uint32 with the bytes of four neighbours in memory. Cortex-M4, M7 and M33 have
instructions for four bytes at once, or two halves; elsewhere LLVM makes the same of vectors of
four, and plain Python counts byte by byte.

``dot_word(total, x, w)``
    ``total`` (int32) plus the four products of u7 bytes of x and s8 bytes of w

``ones_steps(noise, unit, delta, up, down)``
    each byte of ``up`` where ``(noise + unit) % 256 + delta`` reaches 256, else that of ``down``

``add_bytes(one, other)``
    the sums of the bytes, modulo 256

``add_steps(weights, steps)``
    the sums of the s8 bytes, saturating at +-127

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


def _plain_ones_steps() -> Callable[..., int]:
    def ones_steps(noise, unit, delta, up, down):
        total = 0
        for byte in range(0, 32, 8):
            value = ((int(noise) >> byte) + (int(unit) >> byte)) & 0xFF
            chosen = up if value + (int(delta) >> byte & 0xFF) > 0xFF else down
            total |= int(chosen) & 0xFF << byte
        return np.uint32(total)

    return ones_steps


def _plain_add_bytes() -> Callable[..., int]:
    def add_bytes(one, other):
        total = 0
        for byte in range(0, 32, 8):
            total |= ((int(one) >> byte) + (int(other) >> byte) & 0xFF) << byte
        return np.uint32(total)

    return add_bytes


def _plain_add_steps() -> Callable[..., int]:
    def add_steps(weights, steps):
        pairs = np.array([weights, steps], np.uint32).view(np.int8).reshape(2, 4).astype(np.int32)
        return pairs.sum(axis=0).clip(-127, 127).astype(np.int8).view(np.uint32)[0]

    return add_steps


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

    def ones_steps(self, noise: Any, unit: Any, delta: Any, up: Any, down: Any) -> Any:
        build = self.builder
        if self.dsp:
            # The second sum's carries choose.
            self.call("arm.uadd8", self.call("arm.uadd8", noise, unit), delta)
            return self.call("arm.sel", up, down)
        value, more = build.add(self.split(noise), self.split(unit)), self.split(delta)
        carry = build.icmp_unsigned("<", build.add(value, more), more)
        return self.join(build.select(carry, self.split(up), self.split(down)))

    def add_bytes(self, one: Any, other: Any) -> Any:
        if self.dsp:
            return self.call("arm.uadd8", one, other)
        return self.join(self.builder.add(self.split(one), self.split(other)))

    def add_steps(self, weights: Any, steps: Any) -> Any:
        if self.dsp:
            # Down by one and up again: only -128 does not come back.
            one = self.i32(0x01010101)
            total = self.call("arm.qsub8", self.call("arm.qadd8", weights, steps), one)
            return self.call("arm.qadd8", total, one)
        total = self.call("sadd.sat.v4i8", self.split(weights), self.split(steps))
        least = self.ir.Constant(self.four, [-127] * 4)
        return self.join(self.call("smax.v4i8", total, least))

    def differing(self, one: Any, other: Any) -> Any:
        build = self.builder
        changed = build.xor(one, other)
        if self.dsp:
            self.call("arm.uadd8", changed, self.i32(0xFFFFFFFF))
            marks = self.call("arm.sel", self.i32(0x01010101), self.i32(0))
        else:
            none = self.ir.Constant(self.four, [0] * 4)
            marks = self.join(
                build.zext(build.icmp_unsigned("!=", self.split(changed), none), self.four)
            )
        return build.lshr(build.mul(marks, self.i32(0x01010101)), self.i32(24))


def _lowered(name: str) -> Callable[..., Any]:
    from numba import types
    from numba.extending import intrinsic

    from .vector import PATH

    word = types.uint32
    kinds = {
        "dot_word": types.int32(types.int32, word, word),
        "ones_steps": word(word, word, word, word, word),
        "add_bytes": word(word, word),
        "add_steps": word(word, word),
        "differing": types.int32(word, word),
    }

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(_Bytes(builder, PATH == CORTEX_M), name)(*args)

    def of_two(typing, a, b):
        return kinds[name], codegen

    def of_three(typing, a, b, c):
        return kinds[name], codegen

    def of_five(typing, a, b, c, d, e):
        return kinds[name], codegen

    typed: Any = {2: of_two, 3: of_three, 5: of_five}[len(kinds[name].args)]
    made: Callable[..., Any] = intrinsic(typed)
    return made


if COMPILES:
    dot_word, ones_steps = _lowered("dot_word"), _lowered("ones_steps")
    add_bytes, add_steps = _lowered("add_bytes"), _lowered("add_steps")
    differing = _lowered("differing")
else:
    dot_word, ones_steps, add_bytes = _plain_dot_word(), _plain_ones_steps(), _plain_add_bytes()
    add_steps, differing = _plain_add_steps(), _plain_differing()
