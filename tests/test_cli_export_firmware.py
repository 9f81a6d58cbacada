"""``ffedge export --format firmware``: what is written, what is said, what is refused."""

import json

import pytest
from test_firmware_image import host

from ffedge.cli import main
from ffedge.firmware.image import build, device_recipe
from ffedge.model_file import save_model


@pytest.fixture(scope="module")
def model():
    return host()[1]


@pytest.fixture
def file(model, tmp_path):
    save_model(model, tmp_path / "digits.ffedge")
    return str(tmp_path / "digits.ffedge")


def export(file, folder, *more):
    return main(["export", file, "--format", "firmware", "-o", str(folder), *more])


def test_a_folder_of_five_files_and_a_map_are_the_result(model, file, tmp_path, capsys):
    folder = tmp_path / "new" / "nrf"

    assert export(file, folder, "--board", "nrf52840") == 0

    out, err = capsys.readouterr()
    names = {"firmware.elf", "libffedge.a", "ffedge_model.h", "ffedge_model.c"}
    assert {path.name for path in folder.iterdir()} == names | {"ffedge_selftest.h"}
    assert "lowering the kernels for Cortex-M4F" in err
    assert "flash: " in out
    assert "checkpoint      8,192 B" in out
    wanted = build(model, "nrf52840", recipe=device_recipe(model))
    assert (folder / "firmware.elf").read_bytes() == wanted.elf
    assert f"RAM: {wanted.ram_bytes:,} of 262,144 B used" in out


def test_json_reports_sizes_and_map_and_nothing_else_is_printed(file, tmp_path, capsys):
    assert export(file, tmp_path / "x", "--board", "stm32f746", "--rate", "0.02", "--json") == 0

    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert (report["board"], report["core"]) == ("stm32f746", "Cortex-M7")
    assert report["rate"] == 0.02
    assert report["code_bytes"] < 16 * 1024
    for name, nbytes in report["files"].items():
        assert (tmp_path / "x" / name).stat().st_size == nbytes
    assert sum(r["bytes"] for r in report["map"]) == (
        report["ram_available"] + report["flash_available"]
    )


def test_seed_and_stack_reach_the_image(file, tmp_path, capsys):
    stack = ("--stack", "2KiB", "--seed", "7", "--json")
    assert export(file, tmp_path / "x", "--board", "nrf52840", *stack) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["seed"] == 7
    assert [r["bytes"] for r in report["map"] if r["kind"] == "stack"] == [2048]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "expected --board with --format firmware, one of nano33ble"),
        (("--board", "nrf"), "board: expected one of"),
        (("--board", "rp2040"), "expected a core with single-precision floats, got Cortex-M0+"),
        (("--board", "nrf52840", "--stack", "300KiB"), "B of RAM on nrf52840, got a need of"),
    ],
)
def test_what_cannot_be_built_is_refused_and_nothing_is_written(
    more, words, file, tmp_path, capsys
):
    assert export(file, tmp_path / "x", *more) == 2

    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_board_is_for_firmware_only(file, tmp_path, capsys):
    assert main(["export", file, "-o", str(tmp_path / "m.onnx"), "--board", "nrf52840"]) == 2

    assert "--board with --format firmware only, got it with onnx" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("rate", "0.1"), ("seed", "3"), ("stack", "1024")])
def test_other_options_of_firmware_are_refused_elsewhere_too(file, tmp_path, capsys, option, value):
    assert main(["export", file, "-o", str(tmp_path / "m.onnx"), f"--{option}", value]) == 2

    assert f"expected --{option} with --format firmware only" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
