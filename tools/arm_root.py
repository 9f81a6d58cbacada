"""Make a 64-bit Arm userland in a folder, to run ffedge on processors that are not here.

    python tools/arm_root.py [FOLDER]

Debian's Python for arm64, and the aarch64 wheels of numpy, numba, llvmlite, onnxruntime, pytest
and hypothesis in the versions of the Python that runs this tool. Nothing is installed in the
system: no chroot, no superuser. Needs apt-get, dpkg-deb, pip and qemu-user; takes 20 s, 120 MB of
downloads and 400 MB of disk. A folder that is up to date is left alone. Then, for example,

    FOLDER/usr/bin/python-cortex-a76 -m pytest tests/test_int8_dot4.py

python-cortex-a53, -a72, -a76: Raspberry Pi 3, 4, 5; only the last has the dot product. With
``-no-numba`` behind, the same without numba and llvmlite.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
JIT_WHEELS = ("numba", "llvmlite")
WHEELS = ("numpy", "onnxruntime", "pytest", "hypothesis")

_SMALL = "fp asimd evtstrm crc32 cpuid"
_LARGE = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
#: /proc/cpuinfo of Raspberry Pi 3, 4 and 5: features, variant, part, revision. LLVM takes the
#: processor's name from it, and an emulator would show the one of this machine.
PROCESSORS = {
    "cortex-a53": (_SMALL, 0, 0xD03, 4),
    "cortex-a72": (_SMALL, 0, 0xD08, 3),
    "cortex-a76": (_LARGE, 4, 0xD0B, 1),
}

_CHECK = """
import ctypes, importlib.util, platform
ask = ctypes.CDLL(None).getauxval
ask.restype = ctypes.c_ulong
import numpy
dot_product = "with" if ask(16) >> 20 & 1 else "without"
numba = "with" if importlib.util.find_spec("numba") else "without"
print(f"{platform.machine()}, {dot_product} dot product; Python {platform.python_version()}, "
      f"numpy {numpy.__version__}, {numba} numba")
"""


class RootError(Exception):
    """What is missing, and what to do."""


def default_folder() -> Path:
    """$FFEDGE_ARM_ROOT, or arm64 in the user's cache of ffedge."""
    chosen = os.environ.get("FFEDGE_ARM_ROOT")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(cache) / "ffedge" / "arm64"


def emulator() -> str:
    """The path of qemu's user mode for arm64."""
    for name in ("qemu-aarch64", "qemu-aarch64-static"):
        if found := shutil.which(name):
            return found
    raise RootError("qemu-aarch64 is not installed; on Debian: apt install qemu-user")


def wanted() -> dict[str, object]:
    """What the folder is made of; it is made anew when this changes."""
    versions = {}
    for name in (*JIT_WHEELS, *WHEELS):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    tool = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return {"wheels": versions, "emulator": emulator(), "tool": tool}


def run(command: list[str], failure: str, **environment: str) -> str:
    """Standard output; a plain error with the command's last words if it fails."""
    try:
        done = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RootError(f"{command[0]} is not installed; {failure}") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise RootError("\n  ".join([f"{failure}: {' '.join(command[:2])} says", *words]))
    return done.stdout


def download_packages(place: Path) -> list[Path]:
    """The .deb files of PACKAGES and all they depend on, by an apt with its own state."""
    for name in ("lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    (place / "status").touch()
    settings = place / "apt.conf"
    settings.write_text(
        'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };\n'
        f'Dir::State "{place}";\nDir::State::lists "{place}/lists";\n'
        f'Dir::State::status "{place}/status";\nDir::Cache "{place}/cache";\n'
        + ('APT::Sandbox::User "root";\n' if os.geteuid() == 0 else "")
    )
    own = {"APT_CONFIG": str(settings)}
    failure = "the arm64 packages cannot be listed; is there a network?"
    run(["apt-get", "update", "-q"], failure, **own)
    options = ["-qq", "-y", "--download-only", "--no-install-recommends"]
    failure = "this system's package sources have no arm64 packages to offer"
    run(["apt-get", "install", *options, *PACKAGES], failure, **own)
    return sorted((place / "cache" / "archives").glob("*.deb"))


def download_wheels(place: Path, python: str, glibc: int) -> list[Path]:
    """aarch64 wheels for ``python`` ("3.11") and the C library 2.``glibc``, dependencies too."""
    versions = wanted()["wheels"]
    assert isinstance(versions, dict)
    requirements = [f"{name}=={v}" if v else name for name, v in versions.items()]
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(17, glibc + 1)]
    platforms = [word for tag in [*tags, "manylinux2014_aarch64"] for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", *platforms]
    failure = f"the aarch64 wheels for Python {python} cannot be had"
    run([*command, "-d", str(place), *requirements], failure)
    return sorted(place.glob("*.whl"))


def describe_processor(folder: Path, name: str) -> None:
    """A root for one processor: the folder's libraries, and the processor's own cpuinfo."""
    features, variant, part, revision = PROCESSORS[name]
    place = folder / "processors" / name
    (place / "proc").mkdir(parents=True)
    for link in ("lib", "usr"):
        (place / link).symlink_to(Path("..", "..", link))
    (place / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x{variant:x}\nCPU part\t: 0x{part:x}\n"
        f"CPU revision\t: {revision}\n\n"
    )


def write_command(folder: Path, processor: str, python: str, *, numba: bool) -> Path:
    """A command that is Python on that processor, also for its own child processes."""
    # Python takes its own name from argument 0 (-0), so that a child is emulated as well.
    path = folder / "usr" / "bin" / f"python-{processor}{'' if numba else '-no-numba'}"
    jit = 'export PYTHONPATH="$root/numba${PYTHONPATH:+:$PYTHONPATH}"\n' if numba else ""
    path.write_text(
        f'#!/bin/sh\nroot=$(cd "$(dirname "$0")/../.." && pwd)\n{jit}'
        f'exec {emulator()} -0 "$0" -cpu {processor} -L "$root/processors/{processor}" '
        f'"$root/usr/bin/python{python}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def unpack(folder: Path, downloads: Path) -> str:
    """Packages and wheels into the folder; returns Python's version, as "3.11"."""
    print("packages: Python for arm64", flush=True)
    packages = download_packages(downloads / "apt")
    for package in packages:
        run(["dpkg-deb", "-x", str(package), str(folder)], f"{package.name} cannot be unpacked")
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")  # newer systems have nothing but usr
    names = [path.name for path in (folder / "usr" / "bin").glob("python3.*")]
    python = next(name.removeprefix("python") for name in names if re.fullmatch(r"\D+3\.\d+", name))
    glibc = next(m[1] for p in packages if (m := re.match(r"libc6_2\.(\d+)", p.name)))

    print("wheels: " + ", ".join((*JIT_WHEELS, *WHEELS)), flush=True)
    for wheel in download_wheels(downloads / "wheels", python, int(glibc)):
        jit = wheel.name.split("-")[0] in JIT_WHEELS
        target = folder / ("numba" if jit else "usr/lib/python3/dist-packages")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    return python


def make(folder: Path) -> None:
    """Make the folder, unless it is up to date; the mark is written last."""
    mark = folder / "made-of.json"
    recipe = json.dumps(wanted(), indent=1)
    if mark.is_file() and mark.read_text() == recipe:
        print(f"{folder} is up to date")
        return
    if folder.exists() and any(folder.iterdir()) and not (folder / "processors").is_dir():
        raise RootError(f"{folder} holds something else; name an empty or a new folder")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    for name in PROCESSORS:
        describe_processor(folder, name)
    downloads = folder / "downloads"
    python = unpack(folder, downloads)
    shutil.rmtree(downloads)
    for name in PROCESSORS:
        for numba in (True, False):
            command = write_command(folder, name, python, numba=numba)
            failure = f"{command.name} does not run"
            print(f"{command}: {run([str(command), '-c', _CHECK], failure).strip()}", flush=True)
    mark.write_text(recipe)


def main() -> int:
    """Make it, or say what is missing (exit code 2)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", default=default_folder(),
        help="default: $FFEDGE_ARM_ROOT, or ffedge/arm64 in the user's cache",
    )  # fmt: skip
    try:
        make(parser.parse_args().folder.absolute())
    except RootError as error:
        print(f"arm_root: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
