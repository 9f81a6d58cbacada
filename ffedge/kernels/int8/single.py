"""The vector primitives of a single sample: its product, its update, its class scores.

A single sample leaves most of a layer alone: inputs that are zero add nothing to a sum, and
``stream`` rounds the inputs of an update so that few are left. ``index`` lists the groups of
four inputs (quads) that are not zero; only their weights are touched.

``listed(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0)``
    for v in panels, lane in 16, with k = index[t]:
    ``y[y0 + 16*v + lane] = clip((bias[bias0 + 16*v + lane] + sum) >> shift, 0, 127)``
    with ``sum`` over t < count, j in 4 of
    ``a[a0 + 4*k + j] * b[b0 + v*b_panel + (16*k + lane)*4 + j]``

``rank_one(inputs, index, count, d, d0, units, shift, w, w0)``
    one panel; for t < count, lane in 16, j in 4, with k = index[t]:
    ``w[w0 + (16*k + lane)*4 + j] += (x * d[d0 + lane] + noise) >> shift``, saturating at +-127,
    with x and the random number n of input 4k + j in ``inputs``, see ``stream.thin``, and
    ``noise`` the lowest ``shift`` bits of ``n + units[d0 + lane]``. shift is 8..14, n below 2**16,
    and ``|x * d| + 2**shift <= 2**15``. Returns how many weights changed.

``any_of_four(a, a0)``
    1 if one of the bytes a[a0 : a0 + 4] is not zero, else 0.

``dot(a, a0, b, b0, count)``
    the sum over i < count of ``a[a0 + i] * b[b0 + i]``; count is a multiple of ``DOT``.

Arrays are flat in memory, offsets in elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import PANEL
from ..provider import COMPILES
from .vector import PATH, SHAPES, Vectors

_LANES, _, _, ROW_PANELS = SHAPES[PATH]

#: Bytes that ``dot`` takes at once.
DOT = 4 * _LANES


def _plain_listed(panels: int) -> Callable[..., None]:
    def listed(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0):
        a, b, y = a.reshape(-1), b.reshape(-1), y.reshape(-1)
        for v in range(panels):
            unit = bias0 + v * PANEL
            sums = bias[unit : unit + PANEL].copy()
            for k in index[:count]:
                factors = a[a0 + 4 * k : a0 + 4 * k + 4].astype(np.int32)
                at = b0 + v * b_panel + k * 4 * PANEL
                sums += b[at : at + 4 * PANEL].reshape(PANEL, 4).astype(np.int32) @ factors
            y[y0 + v * PANEL : y0 + (v + 1) * PANEL] = np.clip(sums >> shift, 0, 127)

    return listed


def _plain_rank_one() -> Callable[..., int]:
    def rank_one(inputs, index, count, d, d0, units, shift, w, w0):
        w, mask = w.reshape(-1), (1 << shift) - 1
        changed = 0
        for t in range(count):
            for lane in range(PANEL):
                for j in range(4):
                    half = 16 * (j // 2)
                    first = 4 * int(index[t]) + j % 2
                    x, n = (int(inputs[first + at]) >> half & 0xFFFF for at in (0, 2))
                    noise = (n + int(units[d0 + lane])) & mask
                    step = (x * int(d[d0 + lane]) + noise) >> shift
                    at = w0 + (int(index[t]) * PANEL + lane) * 4 + j
                    new = max(-127, min(127, int(w[at]) + step))
                    changed += new != w[at]
                    w[at] = new
        return changed

    return rank_one


def _plain_dot() -> Callable[..., int]:
    def dot(a, a0, b, b0, count):
        a, b = a.reshape(-1)[a0 : a0 + count], b.reshape(-1)[b0 : b0 + count]
        return np.int32((a.astype(np.int32) * b.astype(np.int32)).sum(dtype=np.int32))

    return dot


def _plain_any_of_four() -> Callable[..., int]:
    def any_of_four(a, a0):
        return int(a.reshape(-1)[a0 : a0 + 4].any())

    return any_of_four


def _vector_listed(path: str, panels: int) -> Callable[..., None]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        _, a0, _, count, _, b0, b_panel, _, bias0, shift, _, y0 = args
        a, b = vec.pointer(0, a0), vec.pointer(4, b0)
        index = vec.pointer(2, vec.const(0))
        slots = [[vec.slot() for _ in range(vec.parts)] for _ in range(panels)]
        with vec.cgutils.for_range(builder, count) as loop:
            k = builder.sext(builder.load(vec.step(index, 1, loop.index)), vec.i64)
            factor = vec.splat(vec.load(vec.step(a, 4, k), vec.i32))
            line = vec.step(b, 4 * PANEL, k)
            for v in range(panels):
                for part in range(vec.parts):
                    address = vec.step(vec.step(line, b_panel, v), 4 * vec.lanes, part)
                    slot = slots[v][part]
                    total = vec.dot4(builder.load(slot), factor, vec.load(address, vec.words))
                    builder.store(total, slot)
        bias, y = vec.pointer(7, bias0), vec.pointer(10, y0)
        shifts = vec.splat(builder.trunc(shift, vec.i32))
        for v in range(panels):
            for part in range(vec.parts):
                at = v * PANEL + part * vec.lanes
                start = vec.load(vec.step(bias, 1, at), vec.words, 4)
                vec.store_activity(builder.add(builder.load(slots[v][part]), start), shifts, y, at)
        return context.get_dummy_value()

    @intrinsic
    def listed(typing, a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0):
        n = types.int64
        return types.void(a, n, index, n, b, n, n, bias, n, n, y, n), codegen

    return listed


def _vector_rank_one(path: str) -> Callable[..., int]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        _, _, count, _, d0, _, shift, _, w0 = args
        inputs, index = vec.pointer(0, vec.const(0)), vec.pointer(1, vec.const(0))
        d, units, w = vec.pointer(3, d0), vec.pointer(5, d0), vec.pointer(7, w0)
        mask = vec.low_bits(shift, vec.halves)
        extra = builder.sub(builder.trunc(shift, vec.i16), vec.ir.Constant(vec.i16, 8))
        extra = vec.splat(extra, vec.halves)
        eight, high = vec.fill(vec.halves, 8), vec.fill(vec.halves, 0xFF00)

        def doubled(words: Any) -> Any:
            """The low half of every lane, in both halves."""
            alone = builder.and_(words, vec.fill(vec.words, 0xFFFF))
            both = builder.or_(alone, builder.shl(alone, vec.fill(vec.words, 16)))
            return builder.bitcast(both, vec.halves)

        deltas, noises = [], []
        for part in range(vec.parts):
            deltas.append(doubled(vec.load(vec.step(d, vec.lanes, part), vec.words, 4)))
            noises.append(doubled(vec.load(vec.step(units, vec.lanes, part), vec.words, 4)))
        changed = vec.cgutils.alloca_once_value(builder, vec.const(0))
        counts = [vec.slot(vec.bytes) for _ in range(vec.parts)]

        def visit(t: Any) -> None:
            k = builder.sext(builder.load(vec.step(index, 1, t)), vec.i64)
            line, entry = vec.step(w, 4 * PANEL, k), vec.step(inputs, 4, k)
            even_x, odd_x, even_n, odd_n = (
                builder.bitcast(vec.splat(builder.load(vec.step(entry, 1, at))), vec.halves)
                for at in range(4)
            )
            for part in range(vec.parts):
                even, odd = (
                    builder.ashr(
                        builder.add(
                            builder.mul(x, deltas[part]),
                            builder.and_(builder.add(n, noises[part]), mask),
                        ),
                        extra,
                    )
                    for x, n in ((even_x, even_n), (odd_x, odd_n))
                )
                # The step is the upper byte of each half.
                steps = builder.or_(builder.lshr(even, eight), builder.and_(odd, high))
                address = vec.step(line, 4 * vec.lanes, part)
                differs = vec.add_steps(builder.bitcast(steps, vec.bytes), address)
                more = builder.sub(builder.load(counts[part]), builder.sext(differs, vec.bytes))
                builder.store(more, counts[part])

        # Each byte counts its own lane's changes, and must be emptied before it wraps.
        most = vec.const(255)
        turns = builder.sdiv(builder.add(count, vec.const(254)), most)
        with vec.cgutils.for_range(builder, turns) as turn:
            first = builder.mul(turn.index, most)
            left = builder.sub(count, first)
            fits = builder.icmp_signed("<", left, most)
            with vec.cgutils.for_range(builder, builder.select(fits, left, most)) as loop:
                visit(builder.add(first, loop.index))
            for slot in counts:
                total = builder.add(builder.load(changed), vec.total_of_bytes(builder.load(slot)))
                builder.store(total, changed)
                builder.store(vec.fill(vec.bytes, 0), slot)
        return builder.load(changed)

    @intrinsic
    def rank_one(typing, inputs, index, count, d, d0, units, shift, w, w0):
        n = types.int64
        return types.int64(inputs, index, n, d, n, units, n, w, n), codegen

    return rank_one


def _vector_dot(path: str) -> Callable[..., int]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        _, a0, _, b0, count = args
        a, b, slot = vec.pointer(0, a0), vec.pointer(2, b0), vec.slot()
        with vec.cgutils.for_range(builder, builder.sdiv(count, vec.const(DOT))) as loop:
            left = vec.load(vec.step(a, DOT, loop.index), vec.words)
            right = vec.load(vec.step(b, DOT, loop.index), vec.words)
            builder.store(vec.dot4(builder.load(slot), left, right), slot)
        return vec.call(f"llvm.vector.reduce.add.v{vec.lanes}i32", vec.i32, [builder.load(slot)])

    @intrinsic
    def dot(typing, a, a0, b, b0, count):
        n = types.int64
        return types.int32(a, n, b, n, n), codegen

    return dot


def _vector_any_of_four(path: str) -> Callable[..., int]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        word = vec.load(vec.pointer(0, args[1]), vec.i32)
        zero = vec.ir.Constant(vec.i32, 0)
        return builder.zext(builder.icmp_unsigned("!=", word, zero), vec.i64)

    @intrinsic
    def any_of_four(typing, a, a0):
        return types.int64(a, types.int64), codegen

    return any_of_four


# Module globals on purpose, see ``dot4``.
if not COMPILES:
    listed_row, listed_one = _plain_listed(ROW_PANELS), _plain_listed(1)
    rank_one, dot, any_of_four = _plain_rank_one(), _plain_dot(), _plain_any_of_four()
else:
    listed_row, listed_one = _vector_listed(PATH, ROW_PANELS), _vector_listed(PATH, 1)
    rank_one, dot = _vector_rank_one(PATH), _vector_dot(PATH)
    any_of_four = _vector_any_of_four(PATH)
