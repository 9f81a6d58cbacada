"""``python -m firmware_sim run | boards | power-cuts``."""

from __future__ import annotations

import os

# The device's own kernels are in no compiled library: Numba, which the firmware needs, runs them.
os.environ.setdefault("FFEDGE_KERNELS", "jit")

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ffedge.cli import guarded
from ffedge.cli.options import widths_argument
from ffedge.firmware.boards import BOARDS
from ffedge.rules import NAMED_RULES
from ffedge.scaling import KINDS
from ffedge.units import short_bytes

from .emulator import EMULATORS
from .model_device import NoEmulator

if TYPE_CHECKING:
    from .emulated import Cuts

_RUN = """\
example: python -m firmware_sim run --board nrf52840 --data digits --epochs 2
cycles, time and energy are estimates; nothing here was measured on silicon
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m firmware_sim",
        description="Train on a microcontroller that is not here.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run", help="train on an emulated board and on the host, compare, report", epilog=_RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    run.add_argument("--board", required=True, metavar="NAME", help="see the command boards")
    run.add_argument("--data", required=True, metavar="DATA",
                     help="digits, mnist, or an .npz, .npy, .csv or IDX file")  # fmt: skip
    run.add_argument("--label", metavar="COLUMN", help="as for ffedge train")
    run.add_argument("--data-dir", metavar="FOLDER", help="where to look for mnist and the like")
    run.add_argument("--epochs", type=int, default=2, metavar="N",
                     help="passes over the data (default: 2)")  # fmt: skip
    run.add_argument("--hidden", type=widths_argument, metavar="WIDTHS",
                     help="hidden layers, as 64,64 (default: two that fill the RAM)")  # fmt: skip
    run.add_argument("--rule", choices=tuple(NAMED_RULES), default="readout",
                     help="learning rule (default: readout)")  # fmt: skip
    run.add_argument("--rate", type=float, metavar="R", help="learning rate (default: chosen)")
    run.add_argument("--scaling", choices=KINDS, help="of the features (default: chosen)")
    run.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    run.add_argument("--emulator", choices=(*EMULATORS, NoEmulator.name),
                     help="default: the first that is installed; model: none, the device's program "
                          "on this machine")  # fmt: skip
    run.add_argument("--device-steps", type=int, default=None, metavar="N",
                     help="updates that the device makes itself before it takes over the host's "
                          "weights (default: about a minute of them)")  # fmt: skip
    run.add_argument("--test-samples", type=int, default=None, metavar="N",
                     help="test samples to predict there (default: up to 2,000)")  # fmt: skip
    run.add_argument("--picture", metavar="FILE", help="write the RAM over a step as SVG")
    cuts = commands.add_parser(
        "power-cuts",
        help="cut the power while a device trains and saves, look what is lost",
        description="Cut the power at every operation of the flash, in four modes, once and "
        "twice, and at random, in a model of the device; with --board also of the board's emulated "
        "machine code, between instructions too. Known-bad ways to save must lose.",
        epilog="exit: 0 nothing lost, 1 something was, or a known-bad way lost nothing",
    )
    cuts.add_argument("--board", metavar="NAME", help="see the command boards (default: none)")
    cuts.add_argument("--page-bytes", type=int, default=256, metavar="N",
                      help="the model's erase unit (default: 256)")  # fmt: skip
    cuts.add_argument("--word-bytes", type=int, default=4, choices=(4, 8),
                      help="least that the model programs at once (default: 4)")  # fmt: skip
    cuts.add_argument("--random", type=int, default=10_000, metavar="N",
                      help="random lives; on the board a 20th (default: 10000)")  # fmt: skip
    cuts.add_argument("--rule", choices=tuple(NAMED_RULES), default="readout",
                      help="learning rule (default: readout)")  # fmt: skip
    cuts.add_argument("--emulator", choices=EMULATORS,
                      help="default: the first of these that is installed")  # fmt: skip
    cuts.add_argument("--every", type=int, default=1, metavar="N",
                      help="cut at one of N operations of the flash (default: 1)")  # fmt: skip
    cuts.add_argument("--every-instruction", type=int, default=199, metavar="N",
                      help="cut at one of N instructions (default: 199)")  # fmt: skip
    cuts.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    boards = commands.add_parser("boards", help="list the boards and where their figures are from")
    for command in (run, cuts, boards):
        command.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, as the command line of ffedge does."""
    options = parser().parse_args(arguments)
    action = {"run": _run, "power-cuts": _power_cuts, "boards": _boards}[options.command]
    return guarded(lambda: action(options), as_json=options.json, program="firmware_sim")


def _run(options: argparse.Namespace) -> int:
    from .simulate import DEVICE_STEPS, TEST_SAMPLES, simulate

    report = simulate(
        options.board, options.data, epochs=options.epochs, hidden=options.hidden,
        rule=options.rule, rate=options.rate, scaling=options.scaling, seed=options.seed,
        emulator=options.emulator,
        device_steps=DEVICE_STEPS if options.device_steps is None else options.device_steps,
        test_samples=TEST_SAMPLES if options.test_samples is None else options.test_samples,
        label=options.label, data_dir=options.data_dir, picture_file=options.picture,
        say=_Teller(),
    )  # fmt: skip
    print(json.dumps(report.describe()) if options.json else report.text())
    return 0 if report.host_identical and report.resumed is not False else 1


def _power_cuts(options: argparse.Namespace) -> int:
    from . import power, power_cuts

    say = _Teller()
    found: dict[str, Cuts] = {}
    results = power.campaigns(
        page_bytes=options.page_bytes, word_bytes=options.word_bytes, random=options.random,
        seed=options.seed, say=say,
    )  # fmt: skip
    if options.board is not None:
        found, lives = power_cuts.cut_power(
            options.board, rule=options.rule, emulator=options.emulator, every=options.every,
            every_instruction=options.every_instruction, random=options.random // 20,
            seed=options.seed, say=say,
        )  # fmt: skip
        results += lives
    good = power.as_promised(results) and all(cuts.clean for cuts in found.values())
    if options.json:
        described = {
            "campaigns": power.describe(results), "board": power_cuts.describe(found),
            "as_promised": good,
        }  # fmt: skip
        print(json.dumps(described))
    else:
        print("\n".join(filter(None, [power.table(results), power_cuts.text(found)])))
    return 0 if good else 1


def _boards(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps({name: asdict(board) for name, board in BOARDS.items()}))
        return 0
    for board in sorted(BOARDS.values(), key=lambda board: board.ram_bytes):
        print(
            f"{board.name:<10} {board.core.title:<11} {board.clock_hz // 10**6:>4} MHz  "
            f"RAM {short_bytes(board.ram_bytes):>10}  flash {short_bytes(board.flash_bytes):>9}  "
            f"{board.title}"
        )
    return 0


class _Teller:
    """Progress on stderr, at most twice a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, words: str) -> None:
        now = time.monotonic()
        if now - self._last > 0.5 or not words[0].isdigit():
            self._last = now
            print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
