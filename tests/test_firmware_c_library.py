"""The C deliverable: what compilers say of it, what linkers find in it, what it comes to."""

import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
from test_firmware_image import boot, host

from ffedge.errors import ConfigError, DataError
from ffedge.firmware import startup
from ffedge.firmware.archive import write_archive
from ffedge.firmware.c_library import c_files
from ffedge.firmware.elf32 import Program
from ffedge.firmware.image import build
from ffedge.firmware.model_data import data_object
from ffedge.firmware.selftest import run_selftest
from ffedge.rules import Group, Readout

USER = """
#include "ffedge_model.h"
#include "ffedge_selftest.h"
static uint64_t memory[FF_MEMORY_BYTES / 8u];
int32_t ff_flash_erase(uint32_t address) { return address == 0u; }
int32_t ff_flash_program(uint32_t address, uint32_t low, uint32_t high)
{
    return address == 0u && low == high;
}
int main(void)
{
    return ff_selftest(memory) + (int)ff_save(memory, (const void *)0x10000)
        + (int)ff_load(memory, (const void *)0x10000) + (int)ff_set_rate(memory, 0, 20000, 20);
}
"""


@pytest.fixture(scope="module")
def delivered():
    trainer, model, _ = host()
    firmware = build(model, "nrf52840", recipe=trainer.recipe)
    return model, firmware, c_files(model, firmware)


@pytest.fixture
def folder(delivered, tmp_path):
    for name, content in delivered[2].items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "user.c").write_text(USER)
    return tmp_path


def need(program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return program


def members(archive):
    """(name, content) of each member of an ar file, the index first."""
    found, at = [], 8
    assert archive[:8] == b"!<arch>\n"
    while at < len(archive):
        head = archive[at : at + 60].decode()
        assert head.endswith("`\n")
        size = int(head[48:58])
        found.append((head[:16].strip(), archive[at + 60 : at + 60 + size], at))
        at += 60 + size + size % 2
    return found


@pytest.mark.parametrize(
    ("compiler", "language"),
    [
        ("cc", ["-std=c99", "-pedantic", "-Wconversion", "-Wstrict-prototypes"]),
        ("c++", ["-x", "c++", "-std=c++11", "-pedantic", "-Wconversion"]),
    ],
)
def test_header_and_self_test_are_clean_c99_and_cpp(folder, compiler, language):
    options = [*language, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]

    done = subprocess.run(
        [need(compiler), *options, "user.c"], cwd=folder, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_the_model_is_clean_c99_and_holds_the_tables(folder, delivered):
    cc = need("cc")
    model, firmware, _ = delivered
    done = subprocess.run(
        [cc, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared",
         "-fPIC", "ffedge_model.c", "-o", "model.so"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    import ctypes

    library = ctypes.CDLL(str(folder / "model.so"))
    for name, array in firmware.data.tables.items():
        found = (ctypes.c_uint8 * array.nbytes).in_dll(library, name)
        assert bytes(found) == array.tobytes(), name
    names = (ctypes.c_char_p * len(model.classes)).in_dll(library, "ff_class_names")
    assert [name.decode() for name in names] == [str(name) for name in model.classes]


def test_arm_gcc_compiles_and_links_it(folder):
    gcc = need("arm-none-eabi-gcc")
    flags = re.search(r"-mthumb .*", (folder / "ffedge_model.h").read_text())[0].split()

    done = subprocess.run(
        [gcc, *flags, "-O2", "-nostdlib", "-Wl,-e,main", "user.c", "ffedge_model.c",
         "libffedge.a", "-lgcc", "-o", "user.elf"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_the_archive_leads_linkers_to_every_function(delivered):
    archive = delivered[2]["libffedge.a"]
    index, *objects = members(archive)
    (count,) = struct.unpack_from(">I", index[1])
    places = struct.unpack_from(f">{count}I", index[1], 4)
    names = index[1][4 + 4 * count :].rstrip(b"\0").decode().split("\0")
    where = dict(zip(names, places, strict=True))

    assert index[0] == "/"
    assert [name for name, _, _ in objects] == ["program.o/", "store.o/", "kernels.o/"]
    starts = {at: name for name, _, at in objects}
    assert starts[where["ff_train_step"]] == "program.o/"
    assert starts[where["ff_save"]] == "store.o/"
    assert starts[where["ff_train"]] == "kernels.o/"
    assert "ff_flash_erase" not in where


def test_binutils_reads_the_archive(folder):
    done = subprocess.run(
        [need("ar"), "t", "libffedge.a"], cwd=folder, capture_output=True, text=True
    )

    assert done.stdout.split() == ["program.o", "store.o", "kernels.o"]


def test_training_alone_needs_nothing_from_the_user(delivered):
    _, firmware, files = delivered
    objects = [(name, data) for name, data, _ in members(files["libffedge.a"])[1:]]
    model = [("model.o", data_object(firmware.data))]

    Program([*objects, *model], ["ff_reset", "ff_train_step", "ff_predict", "ff_set_rate"])
    hal = [("hal.o", startup.hal_object())]
    Program([*objects, *model, *hal], ["ff_save", "ff_load"])
    with pytest.raises(ConfigError, match=r"store\.o.* need of ff_flash_"):
        Program([*objects, *model], ["ff_save", "ff_load"])


@pytest.mark.parametrize("rule", [Readout(), Group()])
def test_a_device_comes_to_the_numbers_of_the_self_test(rule):
    import zlib

    trainer, model, _ = host(rule, (40, 40))
    firmware = build(model, "nrf52840", recipe=trainer.recipe)
    names = tuple(part.name for part in firmware.data.store.ranges)
    test = run_selftest(model, firmware.recipe, names)
    device = boot(firmware, "icicle")

    before = [device.predict(sample) for sample in test.samples]
    for _ in range(test.passes):
        for sample, label in zip(test.samples, test.labels.tolist(), strict=True):
            device.train(sample, label)
    crc = 0
    for part in firmware.data.store.ranges:
        crc = zlib.crc32(device.buffer(part.name).tobytes(), crc)

    assert before == test.classes_before.tolist()
    assert crc == test.crc
    assert [device.predict(s) for s in test.samples] == test.classes_after.tolist()
    assert crc != zlib.crc32(b"".join(model.params[name].tobytes() for name in names))


def test_the_self_test_in_c_computes_the_same_checksum(folder, delivered):
    cc = need("cc")
    _, firmware, _ = delivered
    memory = np.arange(firmware.data.memory.nbytes, dtype=np.uint8)
    lines = [
        "#include <stdio.h>", '#include "ffedge_selftest.h"',
        f"static uint8_t memory[] = {{{','.join(map(str, memory.tolist()))}}};",
        "void ff_reset(void *m) { (void)m; }",
        "int32_t ff_predict(void *m, const float *s) { (void)m; (void)s; return 0; }",
        "int32_t ff_train_step(void *m, const float *s, int32_t l)",
        "{ (void)m; (void)s; return l; }",
        'int main(void) { (void)ff_selftest; printf("%u", ff_selftest_crc(memory)); return 0; }',
    ]  # fmt: skip
    (folder / "crc.c").write_text("\n".join(lines))
    subprocess.run([cc, "crc.c", "ffedge_model.c", "-o", "crc"], cwd=folder, check=True)
    done = subprocess.run([str(folder / "crc")], capture_output=True, text=True, check=True)

    import zlib

    wanted = 0
    for part in firmware.data.store.ranges:
        wanted = zlib.crc32(memory[part.offset : part.offset + part.nbytes].tobytes(), wanted)
    assert int(done.stdout) == wanted


def test_the_same_firmware_gives_the_same_files(delivered):
    model, firmware, files = delivered

    assert c_files(model, firmware) == files


def test_samples_of_one_s_own_are_taken_or_refused(delivered):
    model, firmware, _ = delivered
    samples = np.zeros((2, 64), np.float32)

    text = c_files(model, firmware, samples, np.array([1, 9]))["ffedge_selftest.h"].decode()

    assert "#define FF_SELFTEST_SAMPLES 2" in text
    with pytest.raises(DataError, match=r"labels in 0\.\.9"):
        c_files(model, firmware, samples, np.array([1, 10]))
    with pytest.raises(DataError, match=r"expected samples \(n, 64\)"):
        c_files(model, firmware, samples[:, 1:], np.array([1, 9]))


def test_class_names_are_quoted_for_c(delivered):
    from dataclasses import replace

    model, firmware, _ = delivered
    odd = replace(model, classes=('a"b', "c\\d", "*/", "ä", "??/", *"fghij"))
    text = c_files(odd, firmware)["ffedge_model.c"].decode()

    for name in (r'"a\042b"', r'"c\134d"', '"*/"', r'"\303\244"', r'"\077\077/"'):
        assert name in text


def test_names_that_an_archive_cannot_hold_are_refused(delivered):
    data = delivered[1].objects[0][1]

    with pytest.raises(ConfigError, match="at most 15 characters"):
        write_archive([("a-name-that-is-too-long.o", data)])
    with pytest.raises(ConfigError, match="32-bit relocatable Arm object"):
        write_archive([("text.o", b"no object")])
