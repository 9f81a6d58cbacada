"""``python -m firmware_sim``: the command line."""

import json

import pytest

from ffedge.firmware.boards import BOARDS
from firmware_sim.__main__ import main


def test_boards_are_listed_for_people(capsys):
    assert main(["boards"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(BOARDS)
    assert lines[0].startswith("stm32l476")
    assert "96.0 KiB" in lines[0]


def test_boards_are_listed_with_their_sources_as_json(capsys):
    assert main(["boards", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(BOARDS)
    assert all(board["sources"] for board in found.values())


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--board", "uno", "--data", "digits"], "board: expected one of", 2),
        (["--board", "nrf52840", "--data", "no/such.csv"], "no/such.csv", 4),
        (
            ["--board", "nrf52840", "--data", "digits", "--test-samples", "0"],
            "test_samples >= 1",
            2,
        ),
        (
            ["--board", "nrf52840", "--data", "digits", "--picture", "no/such/ram.svg"],
            "expected a folder for the picture no/such/ram.svg, got none",
            2,
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_words_and_json(capsys, words, message, code):
    assert main(["run", *words, "--json"]) == code

    printed = capsys.readouterr()
    assert message in json.loads(printed.out)["error"]["message"]
    assert message in printed.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [(KeyboardInterrupt(), 130, "interrupted"), (OSError(28, "No space left", "x"), 1, "x: No sp")],
)
def test_what_stops_a_run_is_said_in_one_line(capsys, monkeypatch, error, code, words):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr("firmware_sim.simulate.simulate", stop)

    assert main(["run", "--board", "nrf52840", "--data", "digits"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("firmware_sim: ")
    assert words in printed
    assert len(printed.splitlines()) == 1
