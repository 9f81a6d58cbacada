"""Whether the int8 dot product of 64-bit Arm (FEAT_DotProd, ``sdot``) can be used here.

LLVM's list of a host's features leaves it out on Linux, whatever the processor, so two others
are asked: the kernel, whether the processor has it, and LLVM, whether it would emit it for this
processor. Both must agree: without the first the process dies of an illegal instruction,
without the second LLVM aborts it with "Cannot select".
"""

from __future__ import annotations

from . import cpu

# A sum of 16 products, which LLVM turns into one ``sdot`` where it knows of that.
_PROBE = """
target triple = "{triple}"
declare i32 @llvm.vector.reduce.add.v16i32(<16 x i32>)
define i32 @probe(<16 x i8> %a, <16 x i8> %b) {{
  %x = sext <16 x i8> %a to <16 x i32>
  %y = sext <16 x i8> %b to <16 x i32>
  %z = mul <16 x i32> %x, %y
  %sum = call i32 @llvm.vector.reduce.add.v16i32(<16 x i32> %z)
  ret i32 %sum
}}
"""


def llvm_emits_dot_product(triple: str, processor: str, features: str) -> bool:
    """Whether code for this target may use ``sdot``; compiles one function, runs nothing."""
    import llvmlite.binding as llvm

    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=processor, features=features, opt=2
    )
    module = llvm.parse_assembly(_PROBE.format(triple=triple))
    return "sdot" in machine.emit_assembly(module)


def has_dot_product() -> bool:
    """True if the processor has ``sdot`` and Numba's target can hold it."""
    if "dotprod" not in cpu.features():
        return False
    from numba.core.registry import cpu_target

    return llvm_emits_dot_product(*cpu_target.target_context.codegen().magic_tuple())
