"""``ffedge build-runtime``: the kernels as one library, so that devices need no Numba."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ..errors import ConfigError
from ..kernels import cpu
from ..kernels.folders import first_private
from ..kernels.library import cache_folder_name, file_name
from ..lowering.build import build, write
from ..lowering.targets import NAMES, named
from ..units import show_bytes

NAME = "build-runtime"
HELP = "Compile the kernels into one library, for this machine or for another."
EXAMPLE = """\
The library holds every vector path of its architecture and picks one at run time. It is used if
it lies in the cache (the default), in the package's folder "libraries", or where the environment
variable FFEDGE_LIBRARY says; numba is needed for building only.
examples:
  ffedge build-runtime
  ffedge build-runtime --target pi4 -o ffedge-aarch64.so
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Target and output."""
    parser.add_argument(
        "--target", metavar="NAME", choices=NAMES, default="host",
        help=f"machine to build for: {', '.join(NAMES)} (default: host)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="library to write (default: this machine's, in the cache)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Build and write; exit code 2 without numba or for kernels that cannot be lowered."""
    started = time.perf_counter()
    target = named(options.target)
    path = _output(options.output, target.architecture)

    def progress(name: str) -> None:
        if not options.json:
            print(f"lowering {name}", file=sys.stderr, flush=True)

    built = build(target, progress)
    write(built, path)
    report = {
        "path": str(path), "bytes": len(built.data), "target": target.name,
        "architecture": target.architecture, "tuned_for": target.tuned_for,
        "kernels": built.kernels, "paths": list(built.paths),
        "seconds": time.perf_counter() - started,
    }  # fmt: skip
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"library  {path} ({show_bytes(len(built.data))})")
    print(f"target   {target.name}: {target.architecture}, scheduled for {target.tuned_for}")
    print(f"kernels  {built.kernels}, each for {', '.join(built.paths)}")
    print(f"time     {report['seconds']:.1f} s")
    return 0


def _output(chosen: str | None, architecture: str) -> Path:
    if chosen is not None:
        path = Path(chosen)
        if not path.parent.is_dir():
            raise ConfigError(
                f"build-runtime: expected a folder for {path}, got none at {path.parent}; create it"
            )
        return path
    if architecture != cpu.architecture():
        raise ConfigError(
            f"build-runtime: expected --output for a library of {architecture}, got none; this "
            f"machine's cache is for {cpu.architecture()}"
        )
    folder = first_private(cache_folder_name())
    if folder is None:
        raise ConfigError(
            "build-runtime: expected a cache folder that nobody else may write to, got none; "
            "name a file with --output"
        )
    return folder / file_name(architecture)
