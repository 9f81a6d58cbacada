"""Whether Arm's dot product is used: only if the processor has it and LLVM knows that."""

import ctypes
from types import SimpleNamespace

import pytest

from ffedge.kernels import aarch64

llvm = pytest.importorskip("llvmlite.binding")

TRIPLE = "aarch64-unknown-linux-gnu"
#: What LLVM lists of a Cortex-A76 on Linux: no word of the dot product.
LISTED = "+fp-armv8,+sha2,+lse,+neon,+crc,+aes,-sve,-rand"


@pytest.fixture(scope="module", autouse=True)
def targets():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@pytest.mark.parametrize(
    ("cpu", "features", "wanted"),
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
def test_llvm_is_asked_for_the_target_numba_compiles_for(cpu, features, wanted):
    assert aarch64.llvm_emits_dot_product(TRIPLE, cpu, features) is wanted


@pytest.mark.parametrize(("capabilities", "wanted"), [(0x119FFB, True), (0x8FF, False)])
def test_linux_is_asked_for_the_processor(monkeypatch, capabilities, wanted):
    def getauxval(kind):
        return capabilities if kind == 16 else 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(getauxval=getauxval))

    assert aarch64.processor_has_dot_product() is wanted


@pytest.mark.parametrize("wanted", [True, False])
def test_other_systems_leave_the_processor_to_llvm(monkeypatch, wanted):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: {"dotprod": wanted})

    assert aarch64.processor_has_dot_product() is wanted


@pytest.mark.parametrize(
    ("processor", "emitted", "wanted"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_processor_and_llvm_must_agree(monkeypatch, processor, emitted, wanted):
    monkeypatch.setattr(aarch64, "processor_has_dot_product", lambda: processor)
    monkeypatch.setattr(aarch64, "llvm_emits_dot_product", lambda *target: emitted)

    assert aarch64.has_dot_product() is wanted
