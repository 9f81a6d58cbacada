"""The vector path of this machine, and the LLVM building blocks of the int8 primitives.

u7 is 0..127 in a uint8, s8 is -127..127 in an int8. In this range the sum of two products fits
16 bits (2 * 127 * 127 = 32,258), so every instruction set computes the same exact integer:
AVX-VNNI and AVX512-VNNI ``vpdpbusd``, AVX2 and SSSE3 ``vpmaddubsw``, NEON ``smull``/``addp`` and
``sdot``, and shifts and multiplications anywhere else. -128 and 128..255 must never occur.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...tensor import PANEL
from .. import cpu
from ..aarch64 import has_dot_product
from ..provider import LIBRARY, NAME, PLAIN_PYTHON
from .scalar_paths import CORTEX_M, SCALAR

#: By path: int32 lanes of a register, rows and panels of a tile, panels of a single row.
SHAPES = {
    "avx512vnni": (16, 8, 3, 8),
    "avxvnni": (8, 6, 1, 4),
    "avx2": (8, 4, 1, 4),
    "ssse3": (4, 2, 1, 2),
    "dotprod": (4, 6, 1, 4),
    "neon": (4, 4, 1, 4),
    "generic": (4, 2, 1, 1),
    SCALAR: (1, 2, 1, 1),
    CORTEX_M: (1, 2, 1, 1),
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
    seen = cpu.seen_by_llvm(llvm.get_host_cpu_features())
    if cpu.architecture() == "aarch64" and has_dot_product():
        seen |= {"dotprod"}
    return cpu.runnable(known, seen)


def host_path() -> str:
    """The path in use: the best one, or the environment's ``FFEDGE_SIMD`` if it can run here.

    "avx512" stands for avx512vnni and "sse" for ssse3, so that one word forces both precisions.
    """
    forced, paths = cpu.forced(cpu.INT8_WORDS), available_paths()
    if forced == SCALAR and NAME == "jit":
        return forced
    return forced if forced in paths else paths[0]


class Vectors:
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
        """An int64."""
        return self.ir.Constant(self.i64, value)

    def fill(self, kind: Any, value: int) -> Any:
        """A constant vector of one value."""
        return self.ir.Constant(kind, [value] * kind.count)

    def load(self, address: Any, kind: Any, align: int = 1) -> Any:
        """The value of type ``kind`` at an address that is a multiple of ``align``."""
        value = self.builder.load(self.builder.bitcast(address, kind.as_pointer()))
        value.align = align
        return value

    def store(self, value: Any, address: Any, align: int = 1) -> None:
        """``value`` to an address that is a multiple of ``align``."""
        pointer = self.builder.bitcast(address, value.type.as_pointer())
        self.builder.store(value, pointer).align = align

    def splat(self, value: Any, kind: Any = None) -> Any:
        """A vector of one value; ``kind``: int32 lanes unless told."""
        kind = self.words if kind is None else kind
        undefined = self.ir.Constant(kind, self.ir.Undefined)
        first = self.builder.insert_element(undefined, value, self.ir.Constant(self.i32, 0))
        lanes = self.ir.Constant(self.ir.VectorType(self.i32, kind.count), [0] * kind.count)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def low_bits(self, count: Any, kind: Any) -> Any:
        """A mask of the lowest ``count`` (i64) bits of every lane of ``kind``."""
        one = self.ir.Constant(kind.element, 1)
        count = self.builder.trunc(count, kind.element)
        return self.splat(self.builder.sub(self.builder.shl(one, count), one), kind)

    def repeat_byte(self, words: Any) -> Any:
        """The low byte of every lane, in all four bytes of the lane."""
        low = self.builder.and_(words, self.fill(self.words, 0xFF))
        pair = self.builder.or_(low, self.builder.shl(low, self.fill(self.words, 8)))
        four = self.builder.or_(pair, self.builder.shl(pair, self.fill(self.words, 16)))
        return self.builder.bitcast(four, self.bytes)

    def slot(self, kind: Any = None) -> Any:
        """A stack slot of one zero vector (int32 lanes unless told), turned into a register."""
        kind = self.words if kind is None else kind
        place = self.cgutils.alloca_once(self.builder, kind)
        self.builder.store(self.fill(kind, 0), place)
        return place

    def call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """Call an LLVM intrinsic."""
        kind = self.ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def clamp(self, value: Any, low: int, high: int) -> Any:
        """Every lane within low..high."""
        kind = value.type
        name = f"v{kind.count}i{kind.element.width}"
        value = self.call(f"llvm.smax.{name}", kind, [value, self.fill(kind, low)])
        return self.call(f"llvm.smin.{name}", kind, [value, self.fill(kind, high)])

    def store_activity(self, total: Any, shifts: Any, y: Any, at: int) -> None:
        """``y[at : at + lanes] = clip(total >> shifts, 0, 127)``, one byte a lane."""
        total = self.clamp(self.builder.ashr(total, shifts), 0, 127)
        narrow = self.ir.VectorType(self.i8, self.lanes)
        self.store(self.builder.trunc(total, narrow), self.step(y, 1, at))

    def add_steps(self, steps: Any, address: Any) -> Any:
        """Add s8 ``steps`` to the weights at ``address``, saturating; which ones changed."""
        build, kind = self.builder, f"v{self.bytes.count}i8"
        old = self.load(address, self.bytes)
        new = self.call(f"llvm.sadd.sat.{kind}", self.bytes, [old, steps])
        new = self.call(f"llvm.smax.{kind}", self.bytes, [new, self.fill(self.bytes, -127)])
        self.store(new, address)
        return build.icmp_unsigned("!=", old, new)

    def total_of_bytes(self, values: Any) -> Any:
        """Sum (i64) of unsigned bytes, one register of them."""
        wide = self.ir.VectorType(self.i16, values.type.count)
        values = self.builder.zext(values, wide)
        total = self.call(f"llvm.vector.reduce.add.v{wide.count}i16", self.i16, [values])
        return self.builder.zext(total, self.i64)

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


class Changes:
    """How many bytes changed, over loops of any length.

    Bytes of a register each count their own lane, and are emptied before they wrap; with
    AVX-512 the mask of a comparison is counted as it comes, beside the vector units.
    """

    def __init__(self, vec: Vectors) -> None:
        self._vec, build = vec, vec.builder
        self._masks = vec.path == "avx512vnni"
        self._total = vec.cgutils.alloca_once_value(build, vec.const(0))
        self._counts = [] if self._masks else [vec.slot(vec.bytes) for _ in range(vec.parts)]

    def add(self, part: int, differs: Any) -> None:
        """Count what ``Vectors.add_steps`` returned for one of the ``parts`` of a line."""
        vec, build = self._vec, self._vec.builder
        if self._masks:
            mask = build.bitcast(differs, vec.i64)
            self._more(vec.call("llvm.ctpop.i64", vec.i64, [mask]))
            return
        slot = self._counts[part]
        build.store(build.sub(build.load(slot), build.sext(differs, vec.bytes)), slot)

    def over(self, count: Any, visit: Callable[[Any], None]) -> Any:
        """Emit ``visit(t)`` for t < count; how many changed (i64)."""
        vec, build = self._vec, self._vec.builder
        if self._masks:
            with vec.cgutils.for_range(build, count) as loop:
                visit(loop.index)
            return build.load(self._total)
        most = vec.const(255)
        turns = build.sdiv(build.add(count, vec.const(254)), most)
        with vec.cgutils.for_range(build, turns) as turn:
            first = build.mul(turn.index, most)
            left = build.sub(count, first)
            fits = build.icmp_signed("<", left, most)
            with vec.cgutils.for_range(build, build.select(fits, left, most)) as loop:
                visit(build.add(first, loop.index))
            for slot in self._counts:
                self._more(vec.total_of_bytes(build.load(slot)))
                build.store(vec.fill(vec.bytes, 0), slot)
        return build.load(self._total)

    def _more(self, number: Any) -> None:
        build = self._vec.builder
        build.store(build.add(build.load(self._total), number), self._total)


PATH = host_path()
