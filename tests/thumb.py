"""Small Thumb objects from LLVM IR, for the tests of the linker and the image."""

from ffedge.firmware.cores import CORES


def thumb_object(ir, core="m4f"):
    """The object that LLVM makes of ``ir`` for a core; skips by name without llvmlite."""
    import pytest

    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    chosen = CORES[core]
    machine = llvm.Target.from_triple(chosen.triple).create_target_machine(
        cpu=chosen.cpu, features=chosen.features, opt=2, reloc="static", codemodel="default"
    )
    head = f'target triple = "{chosen.triple}"\ntarget datalayout = "{machine.target_data}"\n'
    module = llvm.parse_assembly(head + ir)
    module.verify()
    return machine.emit_object(module)
