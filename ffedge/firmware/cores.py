"""The processor cores that a firmware image can be made for, as LLVM knows them."""

from __future__ import annotations

from dataclasses import dataclass

#: FPv4-SP for all: what the M7 and M33 add (FPv5) the smallest emulator does not know, and no
#: kernel needs.
_SINGLE_FLOATS = "+vfp4d16sp,-fp-armv8,-fp-armv8d16,-fp-armv8sp,-fp-armv8d16sp,-fp64,-d32"


@dataclass(frozen=True, slots=True)
class Core:
    """A Cortex-M core.

    cpu, features, triple: for LLVM's target machine; the triple is written out in full, because
    a shorter one silently means another ABI. fpu: has single-precision registers (they must be
    switched on before the first use). dsp: has the 16-bit SIMD instructions.
    wide: has 32-bit Thumb-2 instructions beyond the branches, so also a hardware divider.
    """

    name: str
    title: str
    cpu: str
    features: str
    triple: str
    fpu: bool
    dsp: bool
    wide: bool


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        Core("m0plus", "Cortex-M0+", "cortex-m0plus", "", "thumbv6m-none-unknown-eabi",
             fpu=False, dsp=False, wide=False),
        Core("m3", "Cortex-M3", "cortex-m3", "", "thumbv7m-none-unknown-eabi",
             fpu=False, dsp=False, wide=True),
        Core("m4f", "Cortex-M4F", "cortex-m4", "", "thumbv7em-none-unknown-eabihf",
             fpu=True, dsp=True, wide=True),
        Core("m7", "Cortex-M7", "cortex-m7", _SINGLE_FLOATS, "thumbv7em-none-unknown-eabihf",
             fpu=True, dsp=True, wide=True),
        Core("m33", "Cortex-M33", "cortex-m33", _SINGLE_FLOATS,
             "thumbv8m.main-none-unknown-eabihf", fpu=True, dsp=True, wide=True),
    )
}  # fmt: skip
