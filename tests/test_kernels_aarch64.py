"""Whether Arm's dot product is used: only if the processor has it and LLVM knows that."""

import pytest

from ffedge.kernels import aarch64, cpu

llvm = pytest.importorskip("llvmlite.binding")

TRIPLE = "aarch64-unknown-linux-gnu"
#: What LLVM lists of a Cortex-A76 on Linux: no word of the dot product.
LISTED = "+fp-armv8,+sha2,+lse,+neon,+crc,+aes,-sve,-rand"


@pytest.fixture(scope="module", autouse=True)
def targets():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@pytest.mark.parametrize(
    ("processor", "features", "wanted"),
    [
        ("cortex-a53", "", False),
        ("cortex-a72", LISTED, False),
        ("cortex-a76", "", True),
        ("cortex-a76", LISTED, True),
        ("cortex-a76", "-dotprod", False),
        ("generic", LISTED, False),
        ("generic", "+dotprod", True),
    ],
)
def test_llvm_is_asked_for_the_target_numba_compiles_for(processor, features, wanted):
    assert aarch64.llvm_emits_dot_product(TRIPLE, processor, features) is wanted


@pytest.mark.parametrize(
    ("processor", "emitted", "wanted"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_processor_and_llvm_must_agree(monkeypatch, processor, emitted, wanted):
    monkeypatch.setattr(cpu, "features", lambda: {"neon", "dotprod"} if processor else {"neon"})
    monkeypatch.setattr(aarch64, "llvm_emits_dot_product", lambda *target: emitted)

    assert aarch64.has_dot_product() is wanted
