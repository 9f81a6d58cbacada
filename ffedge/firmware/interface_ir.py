"""The functions of ``ffedge_model.h`` as LLVM IR: the same code in the image and the library.

They tie the device program's kernels (``thumb.EXPORTS``) to one model's tables, which lie in
flash by these names: ``ff_table``, ``ff_scaler``, ``ff_fills`` (byte offset and bytes of each
piece of ``ff_initial``), ``ff_initial``, ``ff_first_rates``, ``ff_ranges``, ``ff_layout``.

The caller's memory: the plan's arena, then a 32-bit update counter for each layer, then two words
for the learning rate of each layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..kernels.device import checkpoint
from ..lowering.elf import up

#: What a function returns: the first four are those of ``checkpoint.load``.
OK, EMPTY, DAMAGED, FOREIGN, NOT_WRITTEN, FLASH_REFUSED, BAD_ARGUMENT = 0, 1, 2, 3, 4, 5, -1

#: Attributes that keep loops from becoming calls of memset and memcpy, which nobody supplies.
ATTRIBUTES = 'nounwind optsize "no-builtins"'


@dataclass(frozen=True, slots=True)
class Memory:
    """The caller's memory in bytes: peak of the plan, layers, and where counters and rates lie."""

    peak: int
    layers: int

    @property
    def counters(self) -> int:
        return up(self.peak, 8)

    @property
    def rates(self) -> int:
        return self.counters + 4 * self.layers

    @property
    def nbytes(self) -> int:
        return up(self.rates + 8 * self.layers, 8)


def _loop(label: str, count: int, body: str, after: str) -> str:
    """A loop over ``%LABEL.i`` from 0 to ``count`` - 1, entered from block ``before.LABEL``."""
    return f"""
  br label %{label}
{label}:
  %{label}.i = phi i32 [ 0, %before.{label} ], [ %{label}.next, %{label}.body ]
  %{label}.more = icmp ult i32 %{label}.i, {count}
  br i1 %{label}.more, label %{label}.body, label %{after}
{label}.body:
{body}
  %{label}.next = add i32 %{label}.i, 1
  br label %{label}
"""


def program_ir(memory: Memory, classes: int, fills: int) -> str:
    """The module of all but the checkpoint. fills: rows of ``ff_fills``."""
    layers = memory.layers
    clear = _loop(
        "clear", memory.nbytes // 4,
        "  %z = getelementptr i32, ptr %memory, i32 %clear.i\n"
        "  store volatile i32 0, ptr %z", "before.fill",
    )  # fmt: skip
    first = _loop(
        "first", 2 * layers,
        "  %rf = getelementptr i32, ptr @ff_first_rates, i32 %first.i\n"
        "  %rv = load i32, ptr %rf\n"
        "  %rt = getelementptr i32, ptr %rates, i32 %first.i\n"
        "  store volatile i32 %rv, ptr %rt", "done",
    )  # fmt: skip
    return f"""
@ff_table = external constant i32
@ff_scaler = external constant float
@ff_fills = external constant i32
@ff_initial = external constant i32
@ff_first_rates = external constant i32
declare i32 @ff_train(ptr, ptr, ptr, ptr, ptr, ptr, i32)
declare i32 @ff_class(ptr, ptr, ptr, ptr)

define void @ff_reset(ptr %memory) {ATTRIBUTES} section ".text.ff_reset" {{
entry:
  %rates = getelementptr i8, ptr %memory, i32 {memory.rates}
  br label %before.clear
before.clear:{clear}
before.fill:
  br label %fill
fill:
  %row = phi i32 [ 0, %before.fill ], [ %row.next, %filled ]
  %from = phi ptr [ @ff_initial, %before.fill ], [ %from.end, %filled ]
  %more = icmp ult i32 %row, {fills}
  br i1 %more, label %piece, label %before.first
piece:
  %at = getelementptr [2 x i32], ptr @ff_fills, i32 %row
  %offset = load i32, ptr %at
  %size.at = getelementptr i32, ptr %at, i32 1
  %size = load i32, ptr %size.at
  %words = lshr i32 %size, 2
  %to = getelementptr i8, ptr %memory, i32 %offset
  br label %word
word:
  %i = phi i32 [ 0, %piece ], [ %i.next, %copy ]
  %rest = icmp ult i32 %i, %words
  br i1 %rest, label %copy, label %filled
copy:
  %f = getelementptr i32, ptr %from, i32 %i
  %v = load i32, ptr %f
  %t = getelementptr i32, ptr %to, i32 %i
  store volatile i32 %v, ptr %t
  %i.next = add i32 %i, 1
  br label %word
filled:
  %from.end = getelementptr i8, ptr %from, i32 %size
  %row.next = add i32 %row, 1
  br label %fill
before.first:{first}
done:
  ret void
}}

define i32 @ff_train_step(ptr %memory, ptr %sample, i32 %label) {ATTRIBUTES} \
section ".text.ff_train_step" {{
  %ok = icmp ult i32 %label, {classes}
  br i1 %ok, label %run, label %bad
run:
  %counters = getelementptr i8, ptr %memory, i32 {memory.counters}
  %rates = getelementptr i8, ptr %memory, i32 {memory.rates}
  %r = call i32 @ff_train(ptr %memory, ptr @ff_table, ptr @ff_scaler, ptr %rates, ptr %counters, \
ptr %sample, i32 %label)
  ret i32 %r
bad:
  ret i32 {BAD_ARGUMENT}
}}

define i32 @ff_predict(ptr %memory, ptr %sample) {ATTRIBUTES} section ".text.ff_predict" {{
  %r = call i32 @ff_class(ptr %memory, ptr @ff_table, ptr @ff_scaler, ptr %sample)
  ret i32 %r
}}

define i32 @ff_set_rate(ptr %memory, i32 %layer, i32 %mantissa, i32 %exponent) {ATTRIBUTES} \
section ".text.ff_set_rate" {{
  %known = icmp ult i32 %layer, {layers}
  %small = icmp ule i32 %mantissa, 32768
  %ok = and i1 %known, %small
  br i1 %ok, label %write, label %bad
write:
  %rates = getelementptr i8, ptr %memory, i32 {memory.rates}
  %at = getelementptr [2 x i32], ptr %rates, i32 %layer
  store i32 %mantissa, ptr %at
  %at.1 = getelementptr i32, ptr %at, i32 1
  store i32 %exponent, ptr %at.1
  ret i32 0
bad:
  ret i32 {BAD_ARGUMENT}
}}
"""


def store_ir(memory: Memory, ranges: int) -> str:
    """The module of ``ff_save`` and ``ff_load``; apart, so that nobody needs a flash who does not
    save. ranges: rows of ``ff_ranges``.
    """
    layers = memory.layers
    return f"""
@ff_ranges = external constant i32
@ff_layout = external constant i32
declare i32 @ff_load_slot(ptr, ptr, i32, ptr, ptr, ptr, i32)
declare i32 @ff_save_begin(ptr, ptr, ptr)
declare i32 @ff_save_next(ptr, ptr, ptr, i32, ptr, i32, ptr, ptr)
declare i32 @ff_flash_erase(i32)
declare i32 @ff_flash_program(i32, i32, i32)

define i32 @ff_load(ptr %memory, ptr %flash) {ATTRIBUTES} section ".text.ff_load" {{
  %counters = getelementptr i8, ptr %memory, i32 {memory.counters}
  %r = call i32 @ff_load_slot(ptr %flash, ptr @ff_ranges, i32 {ranges}, ptr @ff_layout, \
ptr %memory, ptr %counters, i32 {layers})
  ret i32 %r
}}

define i32 @ff_save(ptr %memory, ptr %flash) {ATTRIBUTES} section ".text.ff_save" {{
entry:
  %state = alloca [{checkpoint.STATE_WORDS} x i32]
  %counters = getelementptr i8, ptr %memory, i32 {memory.counters}
  %address.at = getelementptr i32, ptr %state, i32 {checkpoint.ADDRESS}
  %low.at = getelementptr i32, ptr %state, i32 {checkpoint.LOW}
  %high.at = getelementptr i32, ptr %state, i32 {checkpoint.HIGH}
  %start = ptrtoint ptr %flash to i32
  %begun = call i32 @ff_save_begin(ptr %flash, ptr @ff_layout, ptr %state)
  br label %next
next:
  %operation = call i32 @ff_save_next(ptr %flash, ptr %memory, ptr @ff_ranges, i32 {ranges}, \
ptr %counters, i32 {layers}, ptr @ff_layout, ptr %state)
  %word = load i32, ptr %address.at
  %offset = shl i32 %word, 2
  %address = add i32 %start, %offset
  switch i32 %operation, label %failed [
    i32 {checkpoint.DONE}, label %done
    i32 {checkpoint.ERASE}, label %erase
    i32 {checkpoint.PROGRAM}, label %program
  ]
erase:
  %erased = call i32 @ff_flash_erase(i32 %address)
  br label %after
program:
  %low = load i32, ptr %low.at
  %high = load i32, ptr %high.at
  %programmed = call i32 @ff_flash_program(i32 %address, i32 %low, i32 %high)
  br label %after
after:
  %status = phi i32 [ %erased, %erase ], [ %programmed, %program ]
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %next, label %refused
done:
  ret i32 {OK}
failed:
  ret i32 {NOT_WRITTEN}
refused:
  ret i32 {FLASH_REFUSED}
}}
"""
