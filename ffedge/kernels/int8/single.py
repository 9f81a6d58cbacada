"""The vector primitives of a single sample: its product, its update, its class scores.

A single sample leaves most of a layer alone: inputs that are zero add nothing to a sum, and
``stream`` rounds the inputs of an update so that few are left. ``index`` lists the groups of
four inputs (quads) that are not zero; only their weights are touched.

``listed(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0)``
    for v in panels, lane in 16, with k = index[t]:
    ``y[y0 + 16*v + lane] = clip((bias[bias0 + 16*v + lane] + sum) >> shift, 0, 127)``
    with ``sum`` over t < count, j in 4 of
    ``a[a0 + 4*k + j] * b[b0 + v*b_panel + (16*k + lane)*4 + j]``

``round_ones(inputs, index, count, d, d0, units, w, w0)``, ``round_more(...)``
    one panel; for t < count, lane in 16, j in 4, with k = index[t] and x the input 4k + j:
    ``w[w0 + (16*k + lane)*4 + j] += (x * d[d0 + lane] + noise) >> 8``, saturating at +-127,
    with ``noise`` the lowest 8 bits of ``n + units[d0 + lane]``. x and its random byte n are in
    ``inputs`` as ``stream.thin`` leaves them: ``round_ones`` sees the x that are 1, ``round_more``
    those that are 2..127, either takes the others for 0. d is -127..127. Returns how many weights
    changed.

``shift_right(value, shift)``
    ``value >> shift`` in 32 bits, 0..31; Numba's own shift takes 64, in half as many lanes.

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
from .scalar_paths import CORTEX_M, SCALAR
from .vector import PATH, SHAPES, Changes, Vectors

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


def _plain_round(column: int) -> Callable[..., int]:
    def round_column(inputs, index, count, d, d0, units, w, w0):
        w, deltas = w.reshape(-1), d[d0 : d0 + PANEL].astype(np.int32)[:, None]
        rows = inputs.reshape(-1, 4).view(np.uint8).reshape(-1, 4, 4)
        changed = 0
        for k in index[:count]:
            # A one is marked by all its bits.
            x = rows[k, column].astype(np.int32) % 254
            noise = (rows[k, 1].astype(np.uint32) + units[d0 : d0 + PANEL, None]) & 0xFF
            steps = (x * deltas + noise.astype(np.int32)) >> 8
            line = w[w0 + 4 * PANEL * k : w0 + 4 * PANEL * (k + 1)].reshape(PANEL, 4)
            new = np.clip(line + steps, -127, 127)
            changed += int((new != line).sum())
            line[:] = new
        return changed

    return round_column


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


def _vector_round(path: str, column: int) -> Callable[..., int]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        count, d0, w0 = args[2], args[4], args[7]
        inputs, index = vec.pointer(0, vec.const(0)), vec.pointer(1, vec.const(0))
        d, units, w = vec.pointer(3, d0), vec.pointer(5, d0), vec.pointer(6, w0)
        steps_of = _steps_of_ones if column == 0 else _steps_of_more
        finds = []
        for part in range(vec.parts):
            deltas = vec.load(vec.step(d, vec.lanes, part), vec.words, 4)
            noises = vec.load(vec.step(units, vec.lanes, part), vec.words, 4)
            finds.append((steps_of(vec, deltas), vec.repeat_byte(noises)))
        changes = Changes(vec)

        def visit(t: Any) -> None:
            k = builder.sext(builder.load(vec.step(index, 1, t)), vec.i64)
            line, entry = vec.step(w, 4 * PANEL, k), vec.step(inputs, 4, k)
            x, n = (
                builder.bitcast(vec.splat(builder.load(vec.step(entry, 1, at))), vec.bytes)
                for at in (column, 1)
            )
            for part, (steps, noises) in enumerate(finds):
                address = vec.step(line, 4 * vec.lanes, part)
                changes.add(part, vec.add_steps(steps(x, builder.add(n, noises)), address))

        return changes.over(count, visit)

    @intrinsic
    def round_column(typing, inputs, index, count, d, d0, units, w, w0):
        n = types.int64
        return types.int64(inputs, index, n, d, n, units, w, n), codegen

    return round_column


def _steps_of_ones(vec: Vectors, deltas: Any) -> Callable[[Any, Any], Any]:
    """Steps of inputs 0 or 255 (a one): the delta's sign where the noise carries it over."""
    build = vec.builder
    positive = build.icmp_signed(">", deltas, vec.fill(vec.words, 0))
    negated = build.sub(vec.fill(vec.words, 0), deltas)
    size = vec.repeat_byte(build.select(positive, deltas, negated))
    sign = build.select(positive, vec.fill(vec.words, 0x01010101), vec.fill(vec.words, -1))
    sign = build.bitcast(sign, vec.bytes)
    flip = build.bitcast(build.sext(positive, vec.words), vec.bytes)

    def steps(x: Any, noise: Any) -> Any:
        # noise + size >= 256 is 255 - noise < size; noise - size < 0 is noise < size.
        carried = build.icmp_unsigned("<", build.xor(noise, flip), build.and_(size, x))
        return build.select(carried, sign, vec.fill(vec.bytes, 0))

    return steps


def _steps_of_more(vec: Vectors, deltas: Any) -> Callable[[Any, Any], Any]:
    """Steps of any inputs 0..127: their products in 16 bits, even and odd bytes apart."""
    build = vec.builder
    alone = build.and_(deltas, vec.fill(vec.words, 0xFFFF))
    both = build.or_(alone, build.shl(alone, vec.fill(vec.words, 16)))
    both = build.bitcast(both, vec.halves)
    low, eight = vec.fill(vec.halves, 0xFF), vec.fill(vec.halves, 8)

    def steps(x: Any, noise: Any) -> Any:
        x, noise = build.bitcast(x, vec.halves), build.bitcast(noise, vec.halves)
        even = build.add(build.mul(build.and_(x, low), both), build.and_(noise, low))
        odd = build.add(build.mul(build.lshr(x, eight), both), build.lshr(noise, eight))
        # The step is the upper byte of each half.
        high = build.and_(odd, vec.fill(vec.halves, 0xFF00))
        return build.bitcast(build.or_(build.lshr(even, eight), high), vec.bytes)

    return steps


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


def _shift_right() -> Callable[..., int]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # The mask tells LLVM that no shift is too far.
        return builder.ashr(args[0], builder.and_(args[1], args[1].type(31)))

    @intrinsic
    def shift_right(typing, value, shift):
        return types.int32(types.int32, types.int32), codegen

    return shift_right


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
    round_ones, round_more = _plain_round(0), _plain_round(2)
    dot, any_of_four = _plain_dot(), _plain_any_of_four()
    shift_right: Callable[..., int] = np.right_shift
elif PATH in (SCALAR, CORTEX_M):
    from .scalar import any_of_four, dot, listed_one, round_more, round_ones

    listed_row, shift_right = listed_one, _shift_right()
else:
    listed_row, listed_one = _vector_listed(PATH, ROW_PANELS), _vector_listed(PATH, 1)
    round_ones, round_more = _vector_round(PATH, 0), _vector_round(PATH, 2)
    dot, any_of_four = _vector_dot(PATH), _vector_any_of_four(PATH)
    shift_right = _shift_right()
