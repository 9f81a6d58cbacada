"""The C deliverable: what a firmware of one's own includes and links.

libffedge.a        kernels and functions of the header, machine code for the board's core
ffedge_model.h     sizes and functions; C99 and C++
ffedge_model.c     the model: tables, scaler, first weights
ffedge_selftest.h  samples, classes and a checksum that the device must come to
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..model import Model
from . import c_text
from .archive import write_archive
from .image import Firmware
from .selftest import SelfTest, run_selftest

Array = np.ndarray[Any, Any]

_CTYPES = {"int32": "int32_t", "uint32": "uint32_t", "float32": "float"}


def c_files(
    model: Model, firmware: Firmware, samples: Array | None = None, labels: Array | None = None
) -> dict[str, bytes]:
    """Contents by file name; the same firmware gives the same bytes.

    samples, labels: of the self-test, float32 (n, features) and int32 (n,); invented for None.
    Raises DataError for samples that do not belong to the model.
    """
    names = tuple(part.name for part in firmware.data.store.ranges)
    test = run_selftest(model, firmware.recipe, names, samples, labels)
    return {
        "libffedge.a": write_archive(firmware.objects),
        "ffedge_model.h": header(model, firmware).encode(),
        "ffedge_model.c": source(model, firmware).encode(),
        "ffedge_selftest.h": selftest_header(test).encode(),
    }


def header(model: Model, firmware: Firmware) -> str:
    """The text of ``ffedge_model.h``."""
    data, board, network = firmware.data, firmware.board, firmware.network
    sizes = {
        "FF_FEATURES": (network.features, "float32 numbers of a sample, in raw units"),
        "FF_CLASSES": (network.classes, "classes; a label is 0..FF_CLASSES-1"),
        "FF_LAYERS": (len(network.layers), "layers, each with a learning rate"),
        "FF_MEMORY_BYTES": (data.memory.nbytes, "RAM, yours, aligned to 8 bytes"),
        "FF_CHECKPOINT_BYTES": (data.store.nbytes, "flash for ff_save, yours, whole pages"),
        "FF_PAGE_BYTES": (board.page_bytes, "what ff_flash_erase erases"),
        "FF_WORD_BYTES": (board.word_bytes, "what ff_flash_program programs"),
        "FF_RANGES": (len(data.store.ranges), "rows of ff_ranges"),
    }
    defines = "\n".join(f"#define {name:20} {value}u /* {note} */" for name, (value, note) in
                        sizes.items())  # fmt: skip
    title = f"{network.text}, rule {network.rule.name}, for {board.title} ({board.core.title})"
    return c_text.HEADER.format(title=_comment(title), defines=defines, flags=_flags(firmware))


def _flags(firmware: Firmware) -> str:
    core = firmware.core
    floats = "-mfloat-abi=hard -mfpu=fpv4-sp-d16" if core.fpu else "-mfloat-abi=soft"
    return f"-mthumb -mcpu={core.cpu} {floats}"


def source(model: Model, firmware: Firmware) -> str:
    """The text of ``ffedge_model.c``."""
    arrays = [
        _array(name, _CTYPES[str(array.dtype)], array.reshape(-1))
        for name, array in firmware.data.tables.items()
    ]
    names = ",\n    ".join(_quoted(str(name)) for name in model.classes)
    arrays.append(f"const char *const ff_class_names[FF_CLASSES] = {{\n    {names}\n}};\n")
    return c_text.SOURCE + "\n".join(arrays)


def selftest_header(test: SelfTest) -> str:
    """The text of ``ffedge_selftest.h``."""
    arrays = "\n".join(
        "static " + _array(f"ff_selftest_{name}", kind, array.reshape(-1))
        for name, kind, array in (
            ("samples", "float", test.samples), ("labels", "int32_t", test.labels),
            ("before", "int32_t", test.classes_before), ("after", "int32_t", test.classes_after),
        )
    )  # fmt: skip
    return c_text.SELFTEST.format(
        count=len(test.labels), passes=test.passes, crc=f"0x{test.crc:08X}", arrays=arrays
    )


def _array(name: str, kind: str, values: Array) -> str:
    # C's decimal form of -2**31 would be a minus and a number that is too large.
    if kind == "float":
        texts: Iterable[str] = (_float(value) for value in values)
    elif kind == "uint32_t":
        texts = (f"0x{value:08X}u" for value in values.tolist())
    else:
        texts = ("(-2147483647 - 1)" if v == -(2**31) else str(v) for v in values.tolist())
    rows, row = [], "   "
    for text in texts:
        if len(row) + len(text) > 97:
            rows.append(row)
            row = "   "
        row += f" {text},"
    return f"const {kind} {name}[{len(values)}] = {{\n" + "\n".join([*rows, row]) + "\n};\n"


def _float(value: np.float32) -> str:
    """Nine digits, which give the same float32 back."""
    text = f"{float(value):.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def _quoted(text: str) -> str:
    """A C string of the UTF-8 bytes; octal, because hexadecimal escapes have no end."""
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return '"' + "".join(plain) + '"'


def _comment(text: str) -> str:
    return text.replace("*/", "* /")
