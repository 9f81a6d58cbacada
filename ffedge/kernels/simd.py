"""The vector primitives of the float kernels: sums kept in registers.

Three shapes of one sum, all on float32 arrays addressed by element offsets:

``tile(a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel)``
    for r in rows, v in panels, lane in 16:
    ``c[c0 + v*c_panel + r*16 + lane] += sum over k < blocks, i < count of
    a[a0 + k*a_block + i*a_step + r*a_row] * b[b0 + v*b_panel + (k*count + i)*16 + lane]``

``sparse(a, a0, index, offset, count, b, b0, b_panel, c, c0, c_panel)``
    one row, listed terms only: ``c[c0 + v*c_panel + lane] += sum over i < count of
    a[a0 + offset[i]] * b[b0 + v*b_panel + index[i]*16 + lane]``

``lanes(a, a0, a_step, count, b, b0, b_step, c, c0)``
    for r in rows: ``c[c0 + r] += sum over i < count, lane in 16 of
    a[a0 + i*a_step + lane] * b[b0 + i*b_step + r*16 + lane]``

Numba's own loops reach a tenth of their speed, because LLVM does not keep a tile in registers
unless told to. The code is generic vector IR, which LLVM lowers to AVX-512, AVX2, SSE or NEON;
only the number of rows and panels follows the machine's registers. With the JIT off each
primitive is the plain loop above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..tensor import PANEL
from . import cpu
from .provider import COMPILES, LIBRARY, NAME, PLAIN_PYTHON

#: By vector path: rows and panels of a tile, panels of a sparse row; sums that fit registers.
SHAPES = {
    "avx512": (8, 3, 8),
    "avx2": (6, 1, 4),
    "sse": (3, 1, 2),
    "neon": (6, 1, 4),
    "generic": (2, 1, 1),
}

#: Classes summed at once by ``lanes``.
LANE_ROWS = 4

#: Smaller magnitudes are flushed to zero: arithmetic on denormals is up to 245 times slower.
TINY = np.float32(1e-30)


def host_path() -> str:
    """The vector path of this machine; the environment's ``FFEDGE_SIMD`` overrides it.

    The choice affects speed and the order of float sums, never what can be computed.
    """
    if LIBRARY is not None:
        return LIBRARY.float_path
    forced = cpu.forced()
    if forced in SHAPES:
        return forced
    known = cpu.FLOAT_PATHS.get(cpu.architecture(), {"generic": ()})
    if len(known) == 1:
        return next(iter(known))
    if PLAIN_PYTHON or NAME == "lowering":
        return "generic"
    import llvmlite.binding as llvm

    # LLVM compiles for what it sees itself.
    return cpu.runnable(known, cpu.seen_by_llvm(llvm.get_host_cpu_features()))[0]


def _plain_tile(rows: int, panels: int) -> Callable[..., None]:
    def tile(a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel):
        a, b, c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
        for r in range(rows):
            for v in range(panels):
                at = c0 + v * c_panel + r * PANEL
                for k in range(blocks):
                    for i in range(count):
                        row = b0 + v * b_panel + (k * count + i) * PANEL
                        factor = a[a0 + k * a_block + i * a_step + r * a_row]
                        c[at : at + PANEL] += factor * b[row : row + PANEL]

    return tile


def _plain_sparse(panels: int) -> Callable[..., None]:
    def sparse(a, a0, index, offset, count, b, b0, b_panel, c, c0, c_panel):
        a, b, c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
        for v in range(panels):
            at = c0 + v * c_panel
            for i in range(count):
                row = b0 + v * b_panel + index[i] * PANEL
                c[at : at + PANEL] += a[a0 + offset[i]] * b[row : row + PANEL]

    return sparse


def _plain_lanes(rows: int) -> Callable[..., None]:
    def lanes(a, a0, a_step, count, b, b0, b_step, c, c0):
        a, b, c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
        for r in range(rows):
            for i in range(count):
                left = a[a0 + i * a_step : a0 + i * a_step + PANEL]
                at = b0 + i * b_step + r * PANEL
                c[c0 + r] += (left * b[at : at + PANEL]).sum(dtype=np.float32)

    return lanes


class _Vectors:
    """LLVM building blocks on vectors of 16 float32 inside one intrinsic."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        from llvmlite import ir
        from numba.core import cgutils

        self.ir, self.cgutils, self.builder = ir, cgutils, builder
        self._context, self._signature, self._args = context, signature, args
        self.type = ir.VectorType(ir.FloatType(), PANEL)
        # Fused where the processor can: without FMA, llvm.fma would call libm for every lane.
        self._fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fmuladd.v{PANEL}f32",
        )

    def pointer(self, i: int, offset: Any) -> Any:
        """The address of element ``offset`` of array argument ``i``."""
        array = self._context.make_array(self._signature.args[i])
        return self.builder.gep(array(self._context, self.builder, self._args[i]).data, [offset])

    def step(self, address: Any, stride: Any, times: Any) -> Any:
        """``address + stride * times``; either factor may be a Python int."""
        int64 = self.ir.IntType(64)
        factors = [self.ir.Constant(int64, f) if isinstance(f, int) else f for f in (stride, times)]
        return self.builder.gep(address, [self.builder.mul(*factors)])

    def load(self, address: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(address, self.type.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.builder.bitcast(address, self.type.as_pointer())).align = 4

    def splat(self, value: Any) -> Any:
        int32 = self.ir.IntType(32)
        undefined = self.ir.Constant(self.type, self.ir.Undefined)
        first = self.builder.insert_element(undefined, value, self.ir.Constant(int32, 0))
        lanes = self.ir.Constant(self.ir.VectorType(int32, PANEL), [0] * PANEL)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def slot(self, value: Any) -> Any:
        """A stack slot that LLVM turns into a register."""
        place = self.cgutils.alloca_once(self.builder, self.type)
        self.builder.store(value, place)
        return place

    def add_product(self, left: Any, right: Any, slot: Any) -> None:
        """``slot += left * right``"""
        total = self.builder.call(self._fma, [left, right, self.builder.load(slot)])
        self.builder.store(total, slot)

    def total(self, slot: Any) -> Any:
        """Sum of the 16 lanes."""
        ir, scalar = self.ir, self.ir.FloatType()
        function = self.cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(scalar, [scalar, self.type]),
            f"llvm.vector.reduce.fadd.v{PANEL}f32",
        )
        arguments = [ir.Constant(scalar, 0.0), self.builder.load(slot)]
        return self.builder.call(function, arguments, fastmath=("reassoc", "nsz"))

    @contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        """Counts from 0; yields the int64 index."""
        with self.cgutils.for_range(self.builder, count) as body:
            yield body.index


def _vector_tile(rows: int, panels: int) -> Callable[..., None]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = _Vectors(context, builder, signature, args)
        _, a0, a_row, a_step, blocks, a_block, count, _, b0, b_panel, _, c0, c_panel = args
        a, b, c = vec.pointer(0, a0), vec.pointer(7, b0), vec.pointer(10, c0)
        targets = [
            [vec.step(vec.step(c, c_panel, v), PANEL, r) for v in range(panels)]
            for r in range(rows)
        ]
        sums = [[vec.slot(vec.load(target)) for target in row] for row in targets]
        with vec.loop(blocks) as k:
            a_block_at = vec.step(a, a_block, k)
            b_block_at = vec.step(b, builder.mul(k, count), PANEL)
            with vec.loop(count) as i:
                b_at = vec.step(b_block_at, i, PANEL)
                weights = [vec.load(vec.step(b_at, b_panel, v)) for v in range(panels)]
                a_at = vec.step(a_block_at, a_step, i)
                for r in range(rows):
                    factor = vec.splat(builder.load(vec.step(a_at, a_row, r)))
                    for v in range(panels):
                        vec.add_product(factor, weights[v], sums[r][v])
        for r in range(rows):
            for v in range(panels):
                vec.store(builder.load(sums[r][v]), targets[r][v])
        return context.get_dummy_value()

    @intrinsic
    def tile(typing, a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel):
        n = types.int64
        return types.void(a, n, n, n, n, n, n, b, n, n, c, n, n), codegen

    return tile


def _vector_sparse(panels: int) -> Callable[..., None]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = _Vectors(context, builder, signature, args)
        _, a0, _, _, count, _, b0, b_panel, _, c0, c_panel = args
        a, b, c = vec.pointer(0, a0), vec.pointer(5, b0), vec.pointer(8, c0)
        zero = vec.ir.Constant(vec.ir.IntType(64), 0)
        index, offset = vec.pointer(2, zero), vec.pointer(3, zero)
        targets = [vec.step(c, c_panel, v) for v in range(panels)]
        sums = [vec.slot(vec.load(target)) for target in targets]
        with vec.loop(count) as i:
            factor = vec.splat(builder.load(builder.gep(a, [builder.load(vec.step(offset, 1, i))])))
            b_at = vec.step(b, builder.sext(builder.load(vec.step(index, 1, i)), i.type), PANEL)
            for v in range(panels):
                vec.add_product(factor, vec.load(vec.step(b_at, b_panel, v)), sums[v])
        for v in range(panels):
            vec.store(builder.load(sums[v]), targets[v])
        return context.get_dummy_value()

    @intrinsic
    def sparse(typing, a, a0, index, offset, count, b, b0, b_panel, c, c0, c_panel):
        n = types.int64
        return types.void(a, n, index, offset, n, b, n, n, c, n, n), codegen

    return sparse


def _vector_lanes(rows: int) -> Callable[..., None]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = _Vectors(context, builder, signature, args)
        _, a0, a_step, count, _, b0, b_step, _, c0 = args
        a, b, c = vec.pointer(0, a0), vec.pointer(4, b0), vec.pointer(7, c0)
        nothing = vec.ir.Constant(vec.type, [0.0] * PANEL)
        sums = [vec.slot(nothing) for _ in range(rows)]
        with vec.loop(count) as i:
            left = vec.load(vec.step(a, a_step, i))
            b_at = vec.step(b, b_step, i)
            for r in range(rows):
                vec.add_product(left, vec.load(vec.step(b_at, PANEL, r)), sums[r])
        for r in range(rows):
            target = vec.step(c, 1, r)
            builder.store(builder.fadd(builder.load(target), vec.total(sums[r])), target)
        return context.get_dummy_value()

    @intrinsic
    def lanes(typing, a, a0, a_step, count, b, b0, b_step, c, c0):
        n = types.int64
        return types.void(a, n, n, n, b, n, n, c, n), codegen

    return lanes


PATH = host_path()
ROWS, PANELS, SPARSE_PANELS = SHAPES[PATH]
_tile, _sparse, _lanes = (
    (_plain_tile, _plain_sparse, _plain_lanes)
    if not COMPILES
    else (_vector_tile, _vector_sparse, _vector_lanes)
)
# Module globals on purpose: an intrinsic captured in a closure never hits the disk cache.
tile_full, tile_row = _tile(ROWS, PANELS), _tile(1, PANELS)
tile_column, tile_one = _tile(ROWS, 1), _tile(1, 1)
sparse_full, sparse_one = _sparse(SPARSE_PANELS), _sparse(1)
lanes_full, lanes_one = _lanes(LANE_ROWS), _lanes(1)
