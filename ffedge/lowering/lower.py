"""The kernels of one family for one vector path, as a relocatable object: a process of its own.

``python -m ffedge.lowering.lower FAMILY PATH ARCHITECTURE CPU OBJECT`` with the environment that
``build.py`` sets. Numba types the kernels and lowers them to IR, unoptimised and without its
run-time system; nothing is ever compiled for the machine this runs on. The IR gets the target's
triple, one C function per signature (``record``), and LLVM's optimiser for the target.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils as untyped_cgutils
from numba.core import types as untyped_types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext

from .. import kernels
from ..kernels import cpu
from ..kernels.library import family_of
from ..kernels.signatures import read_table, split
from .relocations import LinkError

# Numba has type hints for users only, not for what is used here.
cgutils: Any = untyped_cgutils
types: Any = untyped_types

TRIPLES = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "aarch64": "aarch64-unknown-linux-gnu",
}

#: What a path's features are added to.
BASELINES = {"x86_64": "x86-64", "aarch64": "generic"}

NUMBERS = {
    "b1": types.boolean, "i1": types.int8, "u1": types.uint8, "i2": types.int16,
    "u2": types.uint16, "i4": types.int32, "u4": types.uint32, "i8": types.int64,
    "u8": types.uint64, "f4": types.float32, "f8": types.float64,
}  # fmt: skip
#: SSE2 and SSSE3 cannot round: there LLVM would call floorf. Exact, zeros keep their sign.
_FLOOR_CALL = ("@llvm.floor.f32(", "@ffedge.floor(")
_FLOOR = """
define internal float @ffedge.floor(float %x) alwaysinline nounwind {
  %size = call float @llvm.fabs.f32(float %x)
  %whole = fcmp uge float %size, 8388608.0
  %safe = select i1 %whole, float 0.0, float %x
  %number = fptosi float %safe to i32
  %near = sitofp i32 %number to float
  %above = fcmp ogt float %near, %safe
  %one = select i1 %above, float 1.0, float 0.0
  %below = fsub float %near, %one
  %signed = call float @llvm.copysign.f32(float %below, float %x)
  %result = select i1 %whole, float %x, float %signed
  ret float %result
}
declare float @llvm.fabs.f32(float)
declare float @llvm.copysign.f32(float, float)
"""

_CODES = {number: code for code, number in NUMBERS.items()}


def main(arguments: list[str]) -> int:
    """Write the object; one line on stdout for each function: its number and its results."""
    family, path, architecture, tuned_for, output = arguments
    never_run()
    known = (cpu.INT8_PATHS if family == "int8" else cpu.FLOAT_PATHS)[architecture]
    features = ",".join(f"+{name}" for name in known[path])
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLES[architecture]).create_target_machine(
        cpu=BASELINES[architecture], features=features, opt=3, reloc="pic", codemodel="small"
    )
    head = (
        f'target datalayout = "{machine.target_data}"\ntarget triple = "{TRIPLES[architecture]}"\n'
    )
    whole = llvm.parse_assembly(head)
    names: list[str] = []
    seen: dict[int, Any] = {}
    table = sorted(read_table().items())
    exports = [(name, words) for name, all_ in table for words in all_]
    for number, (name, words) in enumerate(exports):
        if family_of(name) != family:
            continue
        symbol = f"{family}.{path}.{number}"
        results, texts = lower(name, words, symbol, seen)
        names.append(symbol)
        print(number, *results)
        small = name.startswith(_ONCE) or _rare(words, read_table()[name])
        attributes = f'nounwind "no-builtins" "tune-cpu"="{tuned_for}"'
        attributes += " optsize minsize" if small else ""
        for text in texts:
            whole.link_in(llvm.parse_assembly(head + retargeted(text, attributes)))
    whole.link_in(llvm.parse_assembly(head + _intrinsics(whole)))
    if architecture == "x86_64" and "avx" not in known[path]:
        whole = llvm.parse_assembly(_with_floor(str(whole)))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    optimise(whole, machine, set(names), options)
    Path(output).write_bytes(machine.emit_object(whole))
    return 0


def never_run() -> None:
    """Let Numba type and lower for another machine: LLVM would abort in code for this one."""
    setattr(JITCodeLibrary, "_finalize_specific", lambda self: None)  # noqa: B010
    kept: list[list[Any]] = []

    def no_pointer(*_: Any) -> Any:
        kept.append([])
        return kept[-1].append

    setattr(CPUContext, "get_executable", no_pointer)  # noqa: B010


def find_kernels() -> dict[str, Any]:
    """Numba's dispatchers by the kernels' names, as in the table."""
    found = {}
    for info in pkgutil.walk_packages(kernels.__path__, kernels.__name__ + "."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if hasattr(value, "py_func") and value.__module__ == info.name:
                place = info.name.removeprefix(kernels.__name__ + ".")
                found[f"{place}.{value.__name__}"] = value
    return found


def numba_type(word: str) -> Any:
    """``u1[2]`` as Numba's array type, ``i8`` as its int64."""
    code, ndim = split(word)
    return types.Array(NUMBERS[code], ndim, "C") if ndim else NUMBERS[code]


def lower(
    name: str, words: tuple[str, ...], symbol: str, seen: dict[int, Any]
) -> tuple[list[str], list[str]]:
    """(words of the results, IR texts): the kernel with its callees, and its C function.

    seen: the libraries of Numba whose text has been taken already; more are added.
    """
    found = find_kernels()
    if name not in found:
        raise LinkError(f"signatures.txt: expected a kernel, got {name}, which is none")
    dispatcher = found[name]
    arguments = tuple(numba_type(word) for word in words)
    dispatcher.compile(arguments)
    compiled = dispatcher.overloads[arguments]
    returned = compiled.signature.return_type
    parts = [] if returned == types.none else list(getattr(returned, "types", [returned]))
    if not all(part in _CODES for part in map(types.unliteral, parts)):
        raise LinkError(f"{name}: expected numbers as results, got {returned}")
    results = [_CODES[types.unliteral(part)] for part in parts]
    with global_compiler_lock:
        record = _record_function(compiled, words, results, symbol)
    return results, [*with_callees(compiled.library, seen), record]


def with_callees(library: Any, seen: dict[int, Any]) -> Iterator[str]:
    """IR texts of a library and of all that it links, each once; ``seen`` remembers."""
    # Their names are not unique; kept, so that no id comes twice.
    if id(library) not in seen:
        seen[id(library)] = library
        yield library.get_llvm_str()
        for other in library._linking_libraries:
            yield from with_callees(other, seen)


def _intrinsics(module: Any) -> str:
    """C functions that are one instruction: exact, so the instruction gives the same bits."""
    lines = []
    for name, intrinsic in (("sqrtf", "sqrt.f32"), ("sqrt", "sqrt.f64")):
        if any(item.is_declaration and item.name == name for item in module.functions):
            kind = "float" if intrinsic.endswith("32") else "double"
            lines.append(
                f"declare {kind} @llvm.{intrinsic}({kind})\n"
                f"define {kind} @{name}({kind} %x) alwaysinline nounwind {{\n"
                f"  %y = call {kind} @llvm.{intrinsic}({kind} %x)\n  ret {kind} %y\n}}\n"
            )
    return "".join(lines)


def _record_function(
    compiled: Any, words: tuple[str, ...], results: list[str], symbol: str
) -> str:  # fmt: skip
    """``int symbol(int64 *record)``: the kernel called with the record's arguments.

    Addresses of array descriptors first, then scalars; results from slot 0. Returns 0, or
    Numba's status if the kernel raised, which kernels never do.
    """
    context, signature = compiled.target_context, compiled.signature
    module = ir.Module(symbol)
    int64, double, int32 = ir.IntType(64), ir.DoubleType(), ir.IntType(32)
    function = ir.Function(module, ir.FunctionType(int32, [int64.as_pointer()]), symbol)
    builder = ir.IRBuilder(function.append_basic_block())

    def slot(number: int, base: Any = function.args[0]) -> Any:
        return builder.gep(base, [ir.Constant(int64, number)])

    places = [i for i, word in enumerate(words) if split(word)[1]]
    places += [i for i, word in enumerate(words) if not split(word)[1]]
    values: list[Any] = [None] * len(words)
    for number, i in enumerate(places):
        kind = signature.args[i]
        if isinstance(kind, types.Array):
            raw = builder.load(slot(number))
            values[i] = _array(context, builder, kind, builder.inttoptr(raw, int64.as_pointer()))
        elif isinstance(kind, types.Float):
            value = builder.load(builder.bitcast(slot(number), double.as_pointer()))
            values[i] = builder.fptrunc(value, ir.FloatType()) if kind == types.float32 else value
        else:
            value = builder.load(slot(number))
            narrow = context.get_value_type(kind)
            values[i] = value if narrow == int64 else builder.trunc(value, narrow)
    kernel = context.declare_function(module, compiled.fndesc)
    status, value = context.call_conv.call_function(
        builder, kernel, signature.return_type, signature.args, values
    )
    for number, code in enumerate(results):
        single = not isinstance(signature.return_type, types.BaseTuple)
        part = value if single else builder.extract_value(value, number)
        if code[0] == "f":
            part = builder.fpext(part, double) if code == "f4" else part
            builder.store(part, builder.bitcast(slot(number), double.as_pointer()))
        elif part.type == int64:
            builder.store(part, slot(number))
        else:
            widen = builder.sext if code[0] == "i" else builder.zext
            builder.store(widen(part, int64), slot(number))
    code = builder.select(status.is_error, status.code, ir.Constant(int32, 0))
    builder.ret(code)
    return str(module)


def _array(context: Any, builder: Any, kind: Any, descriptor: Any) -> Any:
    """Numba's array structure of the descriptor: data, then the shape; C-contiguous."""
    int64 = ir.IntType(64)
    data, *extents = (
        builder.load(builder.gep(descriptor, [ir.Constant(int64, i)])) for i in range(1 + kind.ndim)
    )
    pointer = context.get_value_type(types.CPointer(kind.dtype))
    return array_value(context, builder, kind, builder.inttoptr(data, pointer), extents)


def array_value(context: Any, builder: Any, kind: Any, data: Any, extents: list[Any]) -> Any:
    """Numba's structure of a contiguous array at ``data``; extents: of its dimensions."""
    itemsize = extents[0].type(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides: list[Any] = [itemsize]
    for size in reversed(extents[1:]):
        strides.insert(0, builder.mul(strides[0], size, flags=["nsw"]))
    fields = {name: i for i, name in enumerate(context.data_model_manager[kind]._fields)}
    value: Any = ir.Constant(context.get_value_type(kind), None)
    parts = {
        "data": data, "shape": cgutils.pack_array(builder, extents),
        "strides": cgutils.pack_array(builder, strides), "itemsize": itemsize,
        "nitems": functools.reduce(builder.mul, extents),
    }  # fmt: skip
    for name, part in parts.items():
        # Not through memory: only so does LLVM see in time that the last stride is a constant.
        value = builder.insert_value(value, part, fields[name])
    return value


#: Types that are common where a kernel takes several; others come from data of 2**31 rows, of
#: 65,537 classes, or from tests.
_COMMON = {"f4[2]", "i1[2]", "i2[2]", "u1[2]", "u1[1]", "u2[1]"}


#: Kernels that run once in a training: small code is better than fast code.
_ONCE = ("int8.start.", "random.fill_normal")


def _rare(words: tuple[str, ...], all_: list[tuple[str, ...]]) -> bool:
    """Whether a signature has a type for which small code is better than fast code.

    Fast code for all of them would be a third of the library.
    """
    for word, column in zip(words, zip(*all_, strict=True), strict=True):
        common = _COMMON & set(column) or {"i4[1]"}
        if len(set(column)) > 1 and word not in common:
            return True
    return False


def retargeted(text: str, attributes: str) -> str:
    """IR without the host's layout, every function with ``attributes``.

    Among them "no-builtins", which keeps LLVM from turning loops into calls of memset.
    """
    text = re.sub(r"^target (?:datalayout|triple) = .*\n", "", text, flags=re.MULTILINE)
    return re.sub(
        r"^(define [^\n]*?\))([^\n(){}]*?)\s*\{$",
        rf"\1 {attributes}\2 {{",
        text,
        flags=re.MULTILINE,
    )


def _with_floor(text: str) -> str:
    text = re.sub(r"^declare float @llvm\.(?:floor|fabs|copysign)\.f32\(.*\n", "", text,
                  flags=re.MULTILINE)  # fmt: skip
    return text.replace(*_FLOOR_CALL) + _FLOOR


def optimise(module: Any, machine: Any, exports: Collection[str], options: Any) -> None:
    """Run LLVM's passes for the target; all but ``exports`` may be changed or dropped.

    Raises LinkError if anything from outside is still called.
    """
    for item in (*module.functions, *module.global_variables):
        if not item.is_declaration and item.name not in exports:
            item.linkage = "internal"
    module.verify()
    builder = llvm.create_pass_builder(machine, options)
    # Twice, as Numba does: what the first pass takes in, the second sees as one loop.
    for _ in range(2):
        builder.getModulePassManager().run(module, builder)
    outside = [
        item.name for item in module.functions
        if item.is_declaration and not item.name.startswith("llvm.")
    ]  # fmt: skip
    if outside:
        raise LinkError(f"lowering: expected kernels that call nothing, got a call of {outside[0]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
