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

from ..kernels.views import MANY
from ..lowering.lower import (
    NUMBERS,
    array_value,
    find_kernels,
    never_run,
    optimise,
    retargeted,
    with_callees,
)
from ..lowering.relocations import LinkError
from .cores import Core
from .emit import machine_of
from .interface_ir import ATTRIBUTES

types: Any = untyped_types


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
    machine, head = machine_of(core)
    whole = llvm.parse_assembly(head)
    seen: dict[int, Any] = {}
    for symbol, (name, words) in exports.items():
        for text in _texts(name, words, symbol, seen):
            whole.link_in(llvm.parse_assembly(head + retargeted(text, ATTRIBUTES)))
    _name(whole, kept)
    text = re.sub(r"call (?:fast )?float @sqrtf\(", "call float @llvm.sqrt.f32(", str(whole))
    text = re.sub(r"^declare float @(?:sqrtf|llvm\.sqrt\.f32)\(.*\n", "", text, flags=re.MULTILINE)
    whole = llvm.parse_assembly(text + "declare float @llvm.sqrt.f32(float)\n")
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    optimise(whole, machine, exports, options)
    emitted: bytes = machine.emit_object(llvm.parse_assembly(_in_sections(str(whole))))
    return emitted


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
    # How long an array from C is, nobody knows.
    many = [context.get_value_type(types.intp)(MANY)]
    values = [
        array_value(context, builder, kind, value, many) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, function.args, strict=True)
    ]
    kernel = context.declare_function(module, compiled.fndesc)
    status, value = context.call_conv.call_function(
        builder, kernel, signature.return_type, signature.args, values
    )
    builder.ret(builder.select(status.is_error, int32(-1), value))
    return str(module)


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


def _in_sections(text: str) -> str:
    """Every function in a section of its own, so that a linker takes only what is called."""
    return re.sub(
        r'^(define [^\n]*?@"?([\w.]+)"?\([^\n]*?)( (?:\{|personality))',
        r'\1 section ".text.\2"\3',
        text,
        flags=re.MULTILINE,
    )
