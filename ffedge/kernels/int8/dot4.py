"""The vector primitives of a batch: products of u7 and s8, four at a time, in int32 lanes.

``tile(a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row)``
    for r in rows, v in panels, lane in 16:
    ``y[y0 + r*y_row + 16*v + lane] = clip((bias[bias0 + 16*v + lane] + sum) >> shift, 0, 127)``
    with ``sum`` over i < count, j in 4 of
    ``a[a0 + r*a_row + 4*i + j] * b[b0 + v*b_panel + (16*i + lane)*4 + j]``

``round_into(a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel)``
    the same sums for four rows (four inputs), times 2**-shift, stochastically rounded and added
    into the weights ``w[w0 + v*w_panel + lane*4 + r]``, saturating at +-127. The random number
    of input r and unit lane is ``ka[k0 + r] + na[n0 + 16*v + lane]`` (uint32), its lowest
    ``shift`` bits are added before the shift. Returns how many weights changed.

Arrays are flat in memory, offsets in elements. Sums wrap at 32 bits; callers keep them below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import PANEL
from ..provider import COMPILES
from .vector import PATH, SHAPES, Vectors


def _plain_sums(a: Any, a0: int, a_row: int, rows: int, count: int, b: Any, b0: int) -> Any:
    """The sums of one panel, int32 (rows, 16)."""
    bytes_of_b = b[b0 : b0 + count * 4 * PANEL].reshape(count, PANEL, 4).astype(np.int32)
    sums = np.zeros((rows, PANEL), np.int32)
    for r in range(rows):
        at = a0 + r * a_row
        factors = a[at : at + 4 * count].reshape(count, 1, 4).astype(np.int32)
        sums[r] = (factors * bytes_of_b).sum(axis=(0, 2), dtype=np.int32)
    return sums


def _plain_tile(rows: int, panels: int) -> Callable[..., None]:
    def tile(a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row):
        a, b, y = a.reshape(-1), b.reshape(-1), y.reshape(-1)
        for v in range(panels):
            unit = bias0 + v * PANEL
            sums = _plain_sums(a, a0, a_row, rows, count, b, b0 + v * b_panel)
            sums = np.clip((sums + bias[unit : unit + PANEL]) >> shift, 0, 127)
            for r in range(rows):
                at = y0 + r * y_row + v * PANEL
                y[at : at + PANEL] = sums[r]

    return tile


def _plain_round_into(panels: int) -> Callable[..., int]:
    def round_into(a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel):
        a, b, w = a.reshape(-1), b.reshape(-1), w.reshape(-1)
        changed = 0
        for v in range(panels):
            sums = _plain_sums(a, a0, a_row, 4, count, b, b0 + v * b_panel)
            for r in range(4):
                for lane in range(PANEL):
                    word = int(ka[k0 + r]) + int(na[n0 + v * PANEL + lane])
                    step = (int(sums[r, lane]) + (word & ((1 << shift) - 1))) >> shift
                    at = w0 + v * w_panel + lane * 4 + r
                    new = max(-127, min(127, int(w[at]) + max(-127, min(127, step))))
                    changed += new != w[at]
                    w[at] = new
        return changed

    return round_into


def _vector_tile(path: str, rows: int, panels: int) -> Callable[..., None]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        _, a0, a_row, count, _, b0, b_panel, _, bias0, shift, _, y0, y_row = args
        a, b = vec.pointer(0, a0), vec.pointer(4, b0)
        slots = vec.sums(rows, panels, a, a_row, count, b, b_panel)
        bias, y = vec.pointer(7, bias0), vec.pointer(10, y0)
        shifts = vec.splat(builder.trunc(shift, vec.i32))
        for v in range(panels):
            for part in range(vec.parts):
                at = v * PANEL + part * vec.lanes
                start = vec.load(vec.step(bias, 1, at), vec.words, 4)
                for r in range(rows):
                    total = builder.add(builder.load(slots[r][v][part]), start)
                    vec.store_activity(total, shifts, vec.step(y, y_row, r), at)
        return context.get_dummy_value()

    @intrinsic
    def tile(typing, a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row):
        n = types.int64
        return types.void(a, n, n, n, b, n, n, bias, n, n, y, n, n), codegen

    return tile


def _vector_round_into(path: str, panels: int) -> Callable[..., int]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = Vectors(path, context, builder, signature, args)
        _, a0, a_row, count, _, b0, b_panel, shift, _, k0, _, n0, _, w0, w_panel = args
        slots = vec.sums(4, panels, vec.pointer(0, a0), a_row, count, vec.pointer(4, b0), b_panel)
        ka, na, w = vec.pointer(8, k0), vec.pointer(10, n0), vec.pointer(12, w0)
        shifts, mask = vec.splat(builder.trunc(shift, vec.i32)), vec.low_bits(shift, vec.words)
        row_words = [vec.splat(vec.load(vec.step(ka, 1, r), vec.i32, 4)) for r in range(4)]
        changed = vec.const(0)
        for v in range(panels):
            for part in range(vec.parts):
                unit_words = vec.load(vec.step(na, 1, v * PANEL + part * vec.lanes), vec.words, 4)
                packed = vec.fill(vec.words, 0)
                for r in range(4):
                    noise = builder.and_(builder.add(row_words[r], unit_words), mask)
                    total = builder.add(builder.load(slots[r][v][part]), noise)
                    steps = vec.clamp(builder.ashr(total, shifts), -127, 127)
                    steps = builder.and_(steps, vec.fill(vec.words, 255))
                    packed = builder.or_(packed, builder.shl(steps, vec.fill(vec.words, 8 * r)))
                address = vec.step(vec.step(w, w_panel, v), 4 * vec.lanes, part)
                differs = vec.add_steps(builder.bitcast(packed, vec.bytes), address)
                more = vec.total_of_bytes(builder.zext(differs, vec.bytes))
                changed = builder.add(changed, more)
        return changed

    @intrinsic
    def round_into(
        typing, a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel
    ):
        n = types.int64
        return types.int64(a, n, n, n, b, n, n, n, ka, n, na, n, w, n, n), codegen

    return round_into


_, ROWS, PANELS, _ = SHAPES[PATH]
# Module globals on purpose: an intrinsic captured in a closure never hits the disk cache.
if not COMPILES:
    tile_full, tile_column = _plain_tile(ROWS, PANELS), _plain_tile(ROWS, 1)
    round_full, round_one = _plain_round_into(PANELS), _plain_round_into(1)
else:
    tile_full, tile_column = _vector_tile(PATH, ROWS, PANELS), _vector_tile(PATH, ROWS, 1)
    round_full, round_one = _vector_round_into(PATH, PANELS), _vector_round_into(PATH, 1)
