"""The device program lowered to Thumb: complete, small, the same every time, or refused."""

import pytest

from ffedge.errors import ConfigError
from ffedge.firmware import thumb
from ffedge.firmware.cores import CORES

#: Flash that training, prediction and the checkpoint may take.
MOST = 16 * 1024


@pytest.fixture(scope="module", params=[("m4f", "readout"), ("m7", "group"), ("m33", "readout")])
def lowered(request):
    core, rule = request.param
    return CORES[core], rule, thumb.lower(CORES[core], rule)


def test_an_object_is_small_and_defines_all_functions(lowered):
    _, rule, data = lowered

    assert data[:6] == b"\x7fELF\x01\x01"
    assert data[18] == 40  # Arm
    assert len(data) < 2 * MOST
    for name in thumb.EXPORTS[rule]:
        assert name.encode() + b"\0" in data


def test_kernels_keep_readable_names(lowered):
    assert b"ff.int8.scalar.listed_one\0" in lowered[2]
    assert b"ff.int8.stream.thin\0" in lowered[2]


def test_lowering_twice_gives_the_same_bytes(lowered):
    core, rule, data = lowered

    assert thumb.lower(core, rule) == data


@pytest.mark.parametrize("name", ["m0plus", "m3"])
def test_cores_without_floats_are_refused(name):
    with pytest.raises(ConfigError, match="expected a core with single-precision floats, got Cor"):
        thumb.lower(CORES[name], "readout")


def test_an_error_in_the_other_process_is_passed_on(monkeypatch):
    monkeypatch.setattr(thumb.sys, "executable", "/bin/false")
    with pytest.raises(ConfigError, match="expected code for Cortex-M4F, got an error: no message"):
        thumb.lower(CORES["m4f"], "readout")
