"""What a bare image does: from reset to the loop that takes commands.

The protocol: ``hal_next`` says what to do, ``hal_done`` takes the result. Each HAL function is two
halfwords, ``bkpt #N`` and ``bx lr``: whoever holds the core (an emulator, a debugger) finds the
arguments in r0..r2, leaves the answer in r0 and goes on at lr. Flash is the HAL's, too.
"""

from __future__ import annotations

import struct

from .cores import Core
from .elf32_file import CODE, FUNCTION, OBJECT, OutSection, OutSymbol, write_elf
from .interface_ir import ATTRIBUTES, Memory

#: The numbers of the HAL functions' bkpt.
NEXT, DONE, ERASE, PROGRAM, FAULT = range(5)

HAL = {
    "hal_next": NEXT, "hal_done": DONE, "ff_flash_erase": ERASE, "ff_flash_program": PROGRAM,
    "hal_fault": FAULT,
}  # fmt: skip

#: Answers of ``hal_next``; every other one halts.
HALT, TRAIN, PREDICT, SAVE, LOAD, SET_RATES = range(6)

#: What unused stack holds.
PAINT = 0xC5C5C5C5

#: Names that only the memory map knows the addresses of.
GIVEN = (
    "ff_stack_bottom", "ff_stack_top", "ff_mailbox_sample", "ff_mailbox_label",
    "ff_mailbox_rates", "ff_memory", "ff_checkpoint", "ff_data_load", "ff_data_start",
    "ff_data_end", "ff_bss_start", "ff_bss_end",
)  # fmt: skip

#: What must be kept of the objects.
ROOTS = ("ff_vectors",)

_BX_LR = 0x4770
#: Coprocessor access control: full access to the FPU.
_CPACR, _FPU_ON = 0xE000ED88, 0xF << 20

#: System exceptions in the vector table behind stack and reset; the rest is reserved.
_EXCEPTIONS = (2, 3, 4, 5, 6, 7, 11, 12, 14, 15)


def hal_object() -> bytes:
    """The HAL functions: LLVM's library has no assembler for Thumb, so by hand."""
    sections = [
        OutSection(f".text.{name}", CODE, struct.pack("<HH", 0xBE00 | number, _BX_LR))
        for name, number in HAL.items()
    ]
    symbols = [OutSymbol(name, i, 1, 4, kind=FUNCTION) for i, name in enumerate(HAL)]
    return write_elf(OBJECT, sections, symbols)


def startup_ir(core: Core, memory: Memory) -> str:
    """Vector table, reset, fault handler and command loop."""
    given = "\n".join(f"@{name} = external global i32" for name in GIVEN)
    vectors = ["ptr @ff_stack_top", "ptr @ff_reset_handler"]
    vectors += [
        "ptr @ff_fault_handler" if number in _EXCEPTIONS else "ptr null" for number in range(2, 16)
    ]
    fpu = f"""
  %access = load volatile i32, ptr inttoptr (i32 {_CPACR} to ptr)
  %more = or i32 %access, {_FPU_ON}
  store volatile i32 %more, ptr inttoptr (i32 {_CPACR} to ptr)
  call void @llvm.arm.dsb(i32 15)
  call void @llvm.arm.isb(i32 15)"""
    return f"""
{given}
@ff_vectors = constant [16 x ptr] [{", ".join(vectors)}], section ".vectors", align 4
declare i32 @hal_next()
declare void @hal_done(i32)
declare void @hal_fault(i32)
declare void @ff_reset(ptr)
declare i32 @ff_train_step(ptr, ptr, i32)
declare i32 @ff_predict(ptr, ptr)
declare i32 @ff_save(ptr, ptr)
declare i32 @ff_load(ptr, ptr)
declare i32 @ff_set_rate(ptr, i32, i32, i32)
declare void @llvm.arm.dsb(i32)
declare void @llvm.arm.isb(i32)
declare void @llvm.arm.hint(i32)
declare i32 @llvm.read_register.i32(metadata)

define void @ff_reset_handler() noreturn {ATTRIBUTES} section ".text.ff_reset_handler" {{
entry:{fpu if core.fpu else ""}
  br label %data
data:
  %d = phi ptr [ @ff_data_start, %entry ], [ %d.next, %data.word ]
  %s = phi ptr [ @ff_data_load, %entry ], [ %s.next, %data.word ]
  %d.more = icmp ult ptr %d, @ff_data_end
  br i1 %d.more, label %data.word, label %bss
data.word:
  %v = load volatile i32, ptr %s
  store volatile i32 %v, ptr %d
  %d.next = getelementptr i32, ptr %d, i32 1
  %s.next = getelementptr i32, ptr %s, i32 1
  br label %data
bss:
  %b = phi ptr [ @ff_bss_start, %data ], [ %b.next, %bss.word ]
  %b.more = icmp ult ptr %b, @ff_bss_end
  br i1 %b.more, label %bss.word, label %stack
bss.word:
  store volatile i32 0, ptr %b
  %b.next = getelementptr i32, ptr %b, i32 1
  br label %bss
stack:
  %sp = call i32 @llvm.read_register.i32(metadata !0)
  %top = inttoptr i32 %sp to ptr
  br label %paint
paint:
  %p = phi ptr [ @ff_stack_bottom, %stack ], [ %p.next, %paint.word ]
  %p.more = icmp ult ptr %p, %top
  br i1 %p.more, label %paint.word, label %run
paint.word:
  store volatile i32 {PAINT - (1 << 32)}, ptr %p
  %p.next = getelementptr i32, ptr %p, i32 1
  br label %paint
run:
  call void @ff_reset(ptr @ff_memory)
  br label %next
next:
  %command = call i32 @hal_next()
  switch i32 %command, label %halt [
    i32 {TRAIN}, label %train
    i32 {PREDICT}, label %predict
    i32 {SAVE}, label %save
    i32 {LOAD}, label %load
    i32 {SET_RATES}, label %rates
  ]
train:
  %label = load volatile i32, ptr @ff_mailbox_label
  %trained = call i32 @ff_train_step(ptr @ff_memory, ptr @ff_mailbox_sample, i32 %label)
  br label %done
predict:
  %class = call i32 @ff_predict(ptr @ff_memory, ptr @ff_mailbox_sample)
  br label %done
save:
  %saved = call i32 @ff_save(ptr @ff_memory, ptr @ff_checkpoint)
  br label %done
load:
  %loaded = call i32 @ff_load(ptr @ff_memory, ptr @ff_checkpoint)
  br label %done
rates:
  %layer = phi i32 [ 0, %next ], [ %layer.next, %rate ]
  %taken = phi i32 [ 0, %next ], [ %taken.next, %rate ]
  %layer.more = icmp ult i32 %layer, {memory.layers}
  br i1 %layer.more, label %rate, label %done
rate:
  %at = getelementptr [2 x i32], ptr @ff_mailbox_rates, i32 %layer
  %mantissa = load volatile i32, ptr %at
  %at.1 = getelementptr i32, ptr %at, i32 1
  %exponent = load volatile i32, ptr %at.1
  %status = call i32 @ff_set_rate(ptr @ff_memory, i32 %layer, i32 %mantissa, i32 %exponent)
  %taken.next = or i32 %taken, %status
  %layer.next = add i32 %layer, 1
  br label %rates
done:
  %result = phi i32 [ %trained, %train ], [ %class, %predict ], [ %saved, %save ], \
[ %loaded, %load ], [ %taken, %rates ]
  call void @hal_done(i32 %result)
  br label %next
halt:
  call void @llvm.arm.hint(i32 3)
  br label %halt
}}

define void @ff_fault_handler() {ATTRIBUTES} section ".text.ff_fault_handler" {{
entry:
  %ipsr = call i32 @llvm.read_register.i32(metadata !1)
  %number = and i32 %ipsr, 511
  call void @hal_fault(i32 %number)
  br label %stay
stay:
  br label %stay
}}
!0 = !{{!"sp"}}
!1 = !{{!"ipsr"}}
"""
