"""From Numba's IR of the device program to a Thumb object; only inside ``thumb``'s process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import types as untyped_types
from numba.core.compiler_lock import global_compiler_lock
from numba.np import arrayobj

from ..lowering.lower import NUMBERS, find_kernels, never_run, with_callees
from ..lowering.relocations import LinkError
from .cores import Core

types: Any = untyped_types

#: Elements that an array from C claims to have.
_MANY = 0x7FFFFFF

_ATTRIBUTES = 'nounwind optsize "no-builtins"'


def lower(
    core: Core,
    exports: Mapping[str, tuple[str, tuple[str, ...]]],
    kept: Sequence[str],
) -> bytes:
    """The object; exports: (kernel, words of its arguments) by the C function's name."""
    if types.intp.bitwidth != 32:
        raise LinkError(
            "lowering: expected a Numba that can be told to use 32-bit addresses, got "
            f"{types.intp.bitwidth} bits"
        )
    never_run()
    _never_from_the_end()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(core.triple).create_target_machine(
        cpu=core.cpu, features=core.features, opt=2, reloc="static", codemodel="default"
    )
    head = f'target datalayout = "{machine.target_data}"\ntarget triple = "{core.triple}"\n'
    whole = llvm.parse_assembly(head)
    seen: dict[int, Any] = {}
    for symbol, (name, words) in exports.items():
        for text in _texts(name, words, symbol, seen):
            whole.link_in(llvm.parse_assembly(head + _retargeted(text)))
    _name(whole, kept)
    text = re.sub(r"call (?:fast )?float @sqrtf\(", "call float @llvm.sqrt.f32(", str(whole))
    text = re.sub(r"^declare float @(?:sqrtf|llvm\.sqrt\.f32)\(.*\n", "", text, flags=re.MULTILINE)
    whole = llvm.parse_assembly(text + "declare float @llvm.sqrt.f32(float)\n")
    return _optimised(whole, machine, set(exports))


def _never_from_the_end() -> None:
    """Take no index for one from an array's end: kernels use none, and asking costs a third."""

    def as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
        return context.cast(builder, index, kind, types.intp)

    setattr(arrayobj, "fix_integer_index", as_it_is)  # noqa: B010


def _texts(name: str, words: tuple[str, ...], symbol: str, seen: dict[int, Any]) -> list[str]:
    dispatcher = find_kernels()[name]
    arguments = tuple(
        types.Array(NUMBERS[word[:-1]], 1, "C") if word.endswith("*") else NUMBERS[word]
        for word in words
    )
    dispatcher.compile(arguments)
    compiled = dispatcher.overloads[arguments]
    with global_compiler_lock:
        shim = _c_function(compiled, symbol)
    return [*with_callees(compiled.library, seen), shim]


def _c_function(compiled: Any, symbol: str) -> str:
    """``int32_t symbol(...)`` with pointers for arrays; a kernel that raised returns -1."""
    context, signature = compiled.target_context, compiled.signature
    module, int32 = ir.Module(symbol), ir.IntType(32)
    kinds = [
        context.get_value_type(types.CPointer(kind.dtype)) if isinstance(kind, types.Array)
        else context.get_value_type(kind)
        for kind in signature.args
    ]  # fmt: skip
    function = ir.Function(module, ir.FunctionType(int32, kinds), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    values = [
        _array(context, builder, kind, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, function.args, strict=True)
    ]
    kernel = context.declare_function(module, compiled.fndesc)
    status, value = context.call_conv.call_function(
        builder, kernel, signature.return_type, signature.args, values
    )
    builder.ret(builder.select(status.is_error, int32(-1), value))
    return str(module)


def _array(context: Any, builder: Any, kind: Any, data: Any) -> Any:
    """Numba's structure of a flat array at ``data``."""
    intp = context.get_value_type(types.intp)
    size = intp(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    fields = {name: i for i, name in enumerate(context.data_model_manager[kind]._fields)}
    value: Any = ir.Constant(context.get_value_type(kind), None)
    one = ir.ArrayType(intp, 1)
    parts = {
        "data": data, "itemsize": size, "nitems": intp(_MANY),
        "shape": ir.Constant(one, [intp(_MANY)]), "strides": ir.Constant(one, [size]),
    }  # fmt: skip
    for field, part in parts.items():
        value = builder.insert_value(value, part, fields[field])
    return value


def _retargeted(text: str) -> str:
    text = re.sub(r"^target (?:datalayout|triple) = .*\n", "", text, flags=re.MULTILINE)
    return re.sub(
        r"^(define [^\n]*?\))([^\n(){}]*?)\s*\{$",
        rf"\1 {_ATTRIBUTES}\2 {{",
        text,
        flags=re.MULTILINE,
    )


def _name(module: Any, kept: Sequence[str]) -> None:
    """``ff.int8.dense.forward`` for what Numba calls ``_ZN6ffedge7kernels4int8...``.

    Those in ``kept`` are not merged into their callers: a profile shows them.
    """
    taken: dict[str, int] = {}
    for function in module.functions:
        parts = _parts(function.name)
        if parts is None or function.is_declaration:
            continue
        plain = "ff." + ".".join(parts)
        taken[plain] = taken.get(plain, 0) + 1
        function.name = plain if taken[plain] == 1 else f"{plain}.{taken[plain]}"
        if ".".join(parts) in kept:
            function.add_function_attribute("noinline")


def _parts(mangled: str) -> list[str] | None:
    """Module and function of a mangled name, without the package; None for another one."""
    found = re.match(r"_ZN((?:\d+\w+?)+)B", mangled)
    if not mangled.startswith("_ZN") or found is None:
        return None
    rest, parts = mangled[3:], []
    while rest[:1].isdigit():
        digits = re.match(r"\d+", rest)
        assert digits is not None
        length = int(digits[0])
        parts.append(rest[len(digits[0]) : len(digits[0]) + length])
        rest = rest[len(digits[0]) + length :]
    if parts[:2] != ["ffedge", "kernels"]:
        return None
    return [part.removesuffix("_") for part in parts[2:]]


def _optimised(module: Any, machine: Any, exports: set[str]) -> bytes:
    for item in [*module.functions, *module.global_variables]:
        if not item.is_declaration and item.name not in exports:
            item.linkage = "internal"
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    for _ in range(2):
        builder.getModulePassManager().run(module, builder)
    outside = [
        item.name for item in module.functions
        if item.is_declaration and not item.name.startswith("llvm.")
    ]  # fmt: skip
    if outside:
        raise LinkError(f"lowering: expected kernels that call nothing, got a call of {outside[0]}")
    text = re.sub(
        r'^(define [^\n]*?@"?([\w.]+)"?\([^\n]*?)( (?:\{|personality))',
        r'\1 section ".text.\2"\3',
        str(module),
        flags=re.MULTILINE,
    )
    emitted: bytes = machine.emit_object(llvm.parse_assembly(text))
    return emitted
