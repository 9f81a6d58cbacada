"""From LLVM's text to an object for a core."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError, MissingDependencyError
from .cores import Core


def machine_of(core: Core) -> tuple[Any, str]:
    """(LLVM's target machine, the lines of IR that name it); llvmlite must be there."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(core.triple).create_target_machine(
        cpu=core.cpu, features=core.features, opt=2, reloc="static", codemodel="default"
    )
    head = f'target datalayout = "{machine.target_data}"\ntarget triple = "{core.triple}"\n'
    return machine, head


def emit_object(text: str, core: Core) -> bytes:
    """The Thumb object of LLVM IR ``text``, without target lines; small code, same bytes always.

    Raises MissingDependencyError without llvmlite, ConfigError for IR that LLVM refuses.
    """
    try:
        import llvmlite.binding as llvm
    except ImportError:
        raise MissingDependencyError("llvmlite", "jit", "building firmware") from None
    machine, head = machine_of(core)
    try:
        module = llvm.parse_assembly(head + text)
        module.verify()
    except RuntimeError as error:
        raise ConfigError(f"firmware: expected IR that LLVM takes, got {error}") from None
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    emitted: bytes = machine.emit_object(module)
    return emitted
