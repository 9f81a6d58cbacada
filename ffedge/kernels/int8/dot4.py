"""The vector primitive of the int8 kernels: four products of u7 and s8 added into an int32 lane.

u7 is 0..127 in a uint8, s8 is -127..127 in an int8. In this range the sum of two products fits
16 bits (2 * 127 * 127 = 32,258), so every instruction set computes the same exact integer:
AVX-VNNI and AVX512-VNNI ``vpdpbusd``, AVX2 and SSSE3 ``vpmaddubsw``, NEON ``smull``/``addp`` and
``sdot``, and shifts and multiplications anywhere else. -128 and 128..255 must never occur.

``tile(a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row)``
    for r in rows, v in panels, lane in 16:
    ``y[y0 + r*y_row + 16*v + lane] = clip((bias[bias0 + 16*v + lane] + sum) >> shift, 0, 127)``
    with ``sum`` over i < count, j in 4 of
    ``a[a0 + r*a_row + 4*i + j] * b[b0 + v*b_panel + (16*i + lane)*4 + j]``

``round_into(a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel)``
    the same sums for four rows (four inputs), times 2**-shift, stochastically rounded and added
    into the weights ``w[w0 + v*w_panel + lane*4 + r]``, saturating at +-127. The random number
    of input r and unit lane is ``ka[k0 + r] + na[n0 + 16*v + lane]`` (uint32, wrapping), its
    upper ``shift`` bits are added before the shift. Returns how many weights changed.

Arrays are flat in memory, offsets in elements. Sums wrap at 32 bits; callers keep them below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import PANEL
from .. import cpu
from ..provider import COMPILES, LIBRARY, NAME, PLAIN_PYTHON

#: By path: int32 lanes of a register, rows and panels of a tile, panels of a single row.
SHAPES = {
    "avx512vnni": (16, 8, 3, 8),
    "avxvnni": (8, 6, 1, 4),
    "avx2": (8, 4, 1, 4),
    "ssse3": (4, 2, 1, 2),
    "dotprod": (4, 6, 1, 4),
    "neon": (4, 4, 1, 4),
    "generic": (4, 2, 1, 1),
}


def available_paths() -> tuple[str, ...]:
    """The paths this machine can run, best first; asked of the CPU, never tried out."""
    if NAME == "lowering":
        return tuple(SHAPES)
    if LIBRARY is not None:
        return LIBRARY.int8_paths
    known = cpu.INT8_PATHS.get(cpu.architecture())
    if PLAIN_PYTHON or known is None:
        return ("generic",)
    import llvmlite.binding as llvm

    # LLVM compiles for what it sees itself.
    return cpu.runnable(known, cpu.seen_by_llvm(llvm.get_host_cpu_features()))


def host_path() -> str:
    """The path in use: the best one, or the environment's ``FFEDGE_SIMD`` if it can run here.

    "avx512" stands for avx512vnni and "sse" for ssse3, so that one word forces both precisions.
    """
    forced, paths = cpu.forced(cpu.INT8_WORDS), available_paths()
    return forced if forced in paths else paths[0]


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
                    word = (int(ka[k0 + r]) + int(na[n0 + v * PANEL + lane])) & 0xFFFFFFFF
                    step = (int(sums[r, lane]) + (word >> (32 - shift))) >> shift
                    at = w0 + v * w_panel + lane * 4 + r
                    new = max(-127, min(127, int(w[at]) + max(-127, min(127, step))))
                    changed += new != w[at]
                    w[at] = new
        return changed

    return round_into


class _Vectors:
    """LLVM building blocks on ``lanes`` int32, and the lowering of dot4 for one path."""

    def __init__(self, path: str, context: Any, builder: Any, signature: Any, args: Any) -> None:
        from llvmlite import ir
        from numba.core import cgutils

        self.ir, self.cgutils, self.builder, self.path = ir, cgutils, builder, path
        self._context, self._signature, self._args = context, signature, args
        self.lanes = SHAPES[path][0]
        self.parts = PANEL // self.lanes
        self.i8, self.i16, self.i32, self.i64 = (ir.IntType(n) for n in (8, 16, 32, 64))
        self.words = ir.VectorType(self.i32, self.lanes)
        self.halves = ir.VectorType(self.i16, 2 * self.lanes)
        self.bytes = ir.VectorType(self.i8, 4 * self.lanes)

    def pointer(self, i: int, offset: Any) -> Any:
        """The address of element ``offset`` of array argument ``i``."""
        array = self._context.make_array(self._signature.args[i])
        return self.builder.gep(array(self._context, self.builder, self._args[i]).data, [offset])

    def step(self, address: Any, stride: Any, times: Any) -> Any:
        """``address + stride * times``; either factor may be a Python int."""
        factors = [self.const(f) if isinstance(f, int) else f for f in (stride, times)]
        return self.builder.gep(address, [self.builder.mul(*factors)])

    def const(self, value: int) -> Any:
        return self.ir.Constant(self.i64, value)

    def fill(self, kind: Any, value: int) -> Any:
        """A constant vector of one value."""
        return self.ir.Constant(kind, [value] * kind.count)

    def load(self, address: Any, kind: Any, align: int = 1) -> Any:
        value = self.builder.load(self.builder.bitcast(address, kind.as_pointer()))
        value.align = align
        return value

    def store(self, value: Any, address: Any, align: int = 1) -> None:
        pointer = self.builder.bitcast(address, value.type.as_pointer())
        self.builder.store(value, pointer).align = align

    def splat(self, value: Any, kind: Any = None) -> Any:
        kind = self.words if kind is None else kind
        undefined = self.ir.Constant(kind, self.ir.Undefined)
        first = self.builder.insert_element(undefined, value, self.ir.Constant(self.i32, 0))
        lanes = self.ir.Constant(self.ir.VectorType(self.i32, kind.count), [0] * kind.count)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def slot(self) -> Any:
        """A stack slot of one zero vector, which LLVM turns into a register."""
        place = self.cgutils.alloca_once(self.builder, self.words)
        self.builder.store(self.fill(self.words, 0), place)
        return place

    def call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = self.ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def clamp(self, value: Any, low: int, high: int) -> Any:
        kind = value.type
        name = f"v{kind.count}i{kind.element.width}"
        value = self.call(f"llvm.smax.{name}", kind, [value, self.fill(kind, low)])
        return self.call(f"llvm.smin.{name}", kind, [value, self.fill(kind, high)])

    def dot4(self, total: Any, u: Any, s: Any) -> Any:
        """``total`` plus the four products of each lane's bytes; u and s as int32 lanes."""
        build, path = self.builder, self.path
        if path in ("avx512vnni", "avxvnni"):
            # Older LLVMs take int32 lanes here, newer ones upgrade the call.
            return self.call(
                f"llvm.x86.avx512.vpdpbusd.{32 * self.lanes}", self.words, [total, u, s]
            )
        if path in ("avx2", "ssse3"):
            wide = path == "avx2"
            pairs = self.call(
                "llvm.x86.avx2.pmadd.ub.sw" if wide else "llvm.x86.ssse3.pmadd.ub.sw.128",
                self.halves, [build.bitcast(u, self.bytes), build.bitcast(s, self.bytes)],
            )  # fmt: skip
            sums = self.call(
                "llvm.x86.avx2.pmadd.wd" if wide else "llvm.x86.sse2.pmadd.wd",
                self.words, [pairs, self.fill(self.halves, 1)],
            )  # fmt: skip
            return build.add(total, sums)
        if path == "dotprod":
            # u7 is valid as signed.
            bytes_of = [build.bitcast(u, self.bytes), build.bitcast(s, self.bytes)]
            return self.call("llvm.aarch64.neon.sdot.v4i32.v16i8", self.words, [total, *bytes_of])
        if path == "neon":
            eight = self.ir.VectorType(self.i16, 8)
            products = [
                self.call("llvm.aarch64.neon.smull.v8i16", eight,
                          [self._half(u, start), self._half(s, start)])
                for start in (0, 8)
            ]  # fmt: skip
            pairs = self.call("llvm.aarch64.neon.addp.v8i16", eight, products)
            sums = self.call("llvm.aarch64.neon.saddlp.v4i32.v8i16", self.words, [pairs])
            return build.add(total, sums)
        # Not llvm.vector.partial.reduce.add: it may sum any lanes, only their total is defined.
        for byte in range(4):
            low = build.and_(
                build.lshr(u, self.fill(self.words, 8 * byte)), self.fill(self.words, 255)
            )
            high = build.shl(s, self.fill(self.words, 24 - 8 * byte))
            high = build.ashr(high, self.fill(self.words, 24))
            total = build.add(total, build.mul(low, high))
        return total

    def _half(self, words: Any, start: int) -> Any:
        whole = self.builder.bitcast(words, self.bytes)
        lanes = self.ir.Constant(self.ir.VectorType(self.i32, 8), list(range(start, start + 8)))
        return self.builder.shuffle_vector(
            whole, self.ir.Constant(self.bytes, self.ir.Undefined), lanes
        )

    def sums(
        self, rows: int, panels: int, a: Any, a_row: Any, count: Any, b: Any, b_panel: Any
    ) -> list[list[list[Any]]]:
        """Slots [row][panel][part] with the sums of ``count`` groups of four terms."""
        build = self.builder
        slots = [
            [[self.slot() for _ in range(self.parts)] for _ in range(panels)] for _ in range(rows)
        ]
        with self.cgutils.for_range(build, count) as loop:
            line = self.step(b, 4 * PANEL, loop.index)
            weights = [
                [
                    self.load(
                        self.step(self.step(line, b_panel, v), 4 * self.lanes, part), self.words
                    )
                    for part in range(self.parts)
                ]
                for v in range(panels)
            ]
            column = self.step(a, 4, loop.index)
            for r in range(rows):
                factor = self.splat(self.load(self.step(column, a_row, r), self.i32))
                for v in range(panels):
                    for part in range(self.parts):
                        slot = slots[r][v][part]
                        total = self.dot4(build.load(slot), factor, weights[v][part])
                        build.store(total, slot)
        return slots


def _vector_tile(path: str, rows: int, panels: int) -> Callable[..., None]:
    from numba import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vec = _Vectors(path, context, builder, signature, args)
        _, a0, a_row, count, _, b0, b_panel, _, bias0, shift, _, y0, y_row = args
        a, b = vec.pointer(0, a0), vec.pointer(4, b0)
        slots = vec.sums(rows, panels, a, a_row, count, b, b_panel)
        bias, y = vec.pointer(7, bias0), vec.pointer(10, y0)
        shifts = vec.splat(builder.trunc(shift, vec.i32))
        narrow = vec.ir.VectorType(vec.i8, vec.lanes)
        for v in range(panels):
            for part in range(vec.parts):
                at = v * PANEL + part * vec.lanes
                start = vec.load(vec.step(bias, 1, at), vec.words, 4)
                for r in range(rows):
                    total = builder.add(builder.load(slots[r][v][part]), start)
                    total = vec.clamp(builder.ashr(total, shifts), 0, 127)
                    target = vec.step(vec.step(y, y_row, r), 1, at)
                    vec.store(builder.trunc(total, narrow), target)
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
        vec = _Vectors(path, context, builder, signature, args)
        _, a0, a_row, count, _, b0, b_panel, shift, _, k0, _, n0, _, w0, w_panel = args
        slots = vec.sums(4, panels, vec.pointer(0, a0), a_row, count, vec.pointer(4, b0), b_panel)
        ka, na, w = vec.pointer(8, k0), vec.pointer(10, n0), vec.pointer(12, w0)
        shift = builder.trunc(shift, vec.i32)
        shifts = vec.splat(shift)
        spare = vec.splat(builder.sub(vec.ir.Constant(vec.i32, 32), shift))
        row_words = [vec.splat(vec.load(vec.step(ka, 1, r), vec.i32, 4)) for r in range(4)]
        changed = vec.const(0)
        for v in range(panels):
            for part in range(vec.parts):
                unit_words = vec.load(vec.step(na, 1, v * PANEL + part * vec.lanes), vec.words, 4)
                packed = vec.fill(vec.words, 0)
                for r in range(4):
                    noise = builder.lshr(builder.add(row_words[r], unit_words), spare)
                    total = builder.add(builder.load(slots[r][v][part]), noise)
                    steps = vec.clamp(builder.ashr(total, shifts), -127, 127)
                    steps = builder.and_(steps, vec.fill(vec.words, 255))
                    packed = builder.or_(packed, builder.shl(steps, vec.fill(vec.words, 8 * r)))
                address = vec.step(vec.step(w, w_panel, v), 4 * vec.lanes, part)
                old = vec.load(address, vec.bytes)
                new = vec.call(f"llvm.sadd.sat.v{vec.bytes.count}i8", vec.bytes,
                               [old, builder.bitcast(packed, vec.bytes)])  # fmt: skip
                new = vec.call(f"llvm.smax.v{vec.bytes.count}i8", vec.bytes,
                               [new, vec.fill(vec.bytes, -127)])  # fmt: skip
                vec.store(new, address)
                mask = vec.ir.IntType(vec.bytes.count)
                differs = builder.bitcast(builder.icmp_unsigned("!=", old, new), mask)
                differs = differs if mask.width == 64 else builder.zext(differs, vec.i64)
                changed = builder.add(changed, vec.call("llvm.ctpop.i64", vec.i64, [differs]))
        return changed

    @intrinsic
    def round_into(
        typing, a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel
    ):
        n = types.int64
        return types.int64(a, n, n, n, b, n, n, n, ka, n, na, n, w, n, n), codegen

    return round_into


PATH = host_path()
_LANES, ROWS, PANELS, ROW_PANELS = SHAPES[PATH]
# Module globals on purpose: an intrinsic captured in a closure never hits the disk cache.
if not COMPILES:
    tile_full, tile_row = _plain_tile(ROWS, PANELS), _plain_tile(1, ROW_PANELS)
    tile_column, tile_one = _plain_tile(ROWS, 1), _plain_tile(1, 1)
    round_full, round_one = _plain_round_into(PANELS), _plain_round_into(1)
else:
    tile_full = _vector_tile(PATH, ROWS, PANELS)
    tile_row = _vector_tile(PATH, 1, ROW_PANELS)
    tile_column, tile_one = _vector_tile(PATH, ROWS, 1), _vector_tile(PATH, 1, 1)
    round_full, round_one = _vector_round_into(PATH, PANELS), _vector_round_into(PATH, 1)
