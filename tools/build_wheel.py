"""A wheel with compiled libraries inside, which needs numpy and nothing else.

    python tools/build_wheel.py [--target pi4] [--output FOLDER]

Builds the library of each target (default: x86-64 and aarch64), puts them into a copy of the
sources, takes Numba out of the dependencies there and runs `pip wheel`. One wheel serves both
architectures: ffedge has no compiled code that Python itself loads.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ffedge.kernels.library import file_name
from ffedge.lowering.build import build, write
from ffedge.lowering.targets import TARGETS


def main() -> int:
    """Build the wheel; the exit code is pip's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", action="append", choices=tuple(TARGETS), metavar="NAME",
                        help="may be given twice (default: x86-64 and aarch64)")  # fmt: skip
    parser.add_argument("--output", default="dist", metavar="FOLDER", help="default: dist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ffedge-wheel-") as folder:
        copy = Path(folder) / "ffedge"
        shutil.copytree(ROOT / "ffedge", copy / "ffedge", ignore=shutil.ignore_patterns("__py*"))
        for name in ("README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy / name)
        text = (ROOT / "pyproject.toml").read_text()
        text, changed = re.subn(r', "numba[^"]*"\]', "]", text, count=1)
        if not changed:
            raise SystemExit("pyproject.toml: expected numba as the last dependency, got none")
        (copy / "pyproject.toml").write_text(text)
        libraries = copy / "ffedge" / "libraries"
        libraries.mkdir()
        for name in options.target or ("x86-64", "aarch64"):
            built = build(TARGETS[name], lambda path: print(f"lowering {path}", file=sys.stderr))
            write(built, libraries / file_name(built.target.architecture))
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", options.output, copy]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
