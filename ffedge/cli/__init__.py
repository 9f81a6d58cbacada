"""The command line: ``ffedge COMMAND``. One file per command, each thin."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from .. import __version__
from ..errors import FFEdgeError
from ..units import show_text

#: Command and its module. Only the module of the command given is loaded: it brings the
#: kernels, and ``doctor`` must also run where they cannot be had.
COMMANDS = {
    "train": "train",
    "stream": "stream",
    "eval": "evaluate",
    "predict": "predict",
    "reading": "reading",
    "plan": "plan",
    "profile": "profiling",
    "export": "export",
    "quantize": "quantize",
    "inspect": "inspect",
    "sign": "sign",
    "verify": "verify",
    "build-runtime": "build_runtime",
    "doctor": "doctor",
}

_EPILOG = """\
exit codes: 0 done, 2 impossible request or missing package, 3 over budget, 4 unusable data,
5 unusable model file or signature, 6 export refused, 7 device refused, 130 interrupted
example: ffedge train digits --budget 512KiB --export digits.onnx
"""


class _UsageError(Exception):
    """A command line that cannot be read; ``usage`` is the command's own."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit, so that ``--json`` can answer in JSON."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message, self.format_usage())


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The command line: of the command ``name``, or the whole of it."""
    top = _Parser(
        prog="ffedge",
        description="Train neural networks here, by Forward-Forward, inside a byte budget.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"ffedge {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS.values() if name not in COMMANDS else [COMMANDS[name]]:
        command = import_module(f".{module}", __name__)
        sub = commands.add_parser(
            command.NAME, help=command.HELP, description=command.HELP, epilog=command.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        sub.set_defaults(action=command.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. SystemExit only after ``--help``, ``--version``.

    With ``--json`` stdout holds exactly one JSON object, also for an error:
    ``{"error": {"kind": ..., "message": ..., "exit_code": ...}}``.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        name = next((word for word in words if not word.startswith("-")), None)
        options = parser(name).parse_args(words)
    except _UsageError as error:
        sys.stderr.write(error.usage)
        return _fail("--json" in words, "UsageError", str(error), 2)
    except FFEdgeError as error:
        return _fail("--json" in words, type(error).__name__, str(error), error.exit_code)
    return guarded(lambda: options.action(options), as_json=options.json)


def guarded(action: Callable[[], int], *, as_json: bool, program: str = "ffedge") -> int:
    """The exit code of ``action``; what stops it is said in one line, by ``program``."""
    try:
        return action()
    except FFEdgeError as error:
        return _fail(as_json, type(error).__name__, str(error), error.exit_code, program)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        words = f"{where}{error.strerror or error}"
        return _fail(as_json, type(error).__name__, words, 1, program)
    except MemoryError as error:
        words = str(error) or "the system has no memory left"
        return _fail(as_json, "MemoryError", words, 3, program)
    except KeyboardInterrupt:
        words = "interrupted; nothing was written"
        return _fail(as_json, "KeyboardInterrupt", words, 130, program)


def _fail(as_json: bool, kind: str, message: str, code: int, program: str = "ffedge") -> int:
    if as_json:
        print(json.dumps({"error": {"kind": kind, "message": message, "exit_code": code}}))
    print(f"{program}: {show_text(message)}", file=sys.stderr)
    return code


def run() -> None:
    """Entry point of the ``ffedge`` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class name the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`ffedge ... | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
