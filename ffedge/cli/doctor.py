"""``ffedge doctor``: what runs the kernels here, why, and what else is installed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import FFEdgeError
from ..units import show_bytes

NAME = "doctor"
HELP = "Show what runs the kernels on this machine, why, and what is installed."
EXAMPLE = "example: ffedge doctor --json"

PACKAGES = (
    "numpy", "numba", "llvmlite", "onnx", "onnxruntime", "scikit-learn", "skl2onnx", "torch",
    "cryptography",
)  # fmt: skip

_VARIABLES = (
    "FFEDGE_KERNELS", "FFEDGE_LIBRARY", "FFEDGE_SIMD", "FFEDGE_BUILD_RUNTIME",
    "NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> int:
    """Print the report; exit code 2 if no kernels can be had as things are."""
    report = examine()
    print(json.dumps(report) if options.json else _text(report))
    return 0 if report["kernels"]["provider"] else 2


def examine() -> dict[str, Any]:
    """Everything, as JSON types; no package is imported for it but numpy."""
    from ..kernels import cpu

    return {
        "ffedge": __version__,
        "python": platform.python_version(),
        "machine": cpu.architecture(),
        "cpu_features": _known_features(),
        "kernels": _kernels(),
        "caches": _caches(),
        "packages": {name: _version(name) for name in PACKAGES},
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _kernels() -> dict[str, Any]:
    try:
        from ..kernels import provider
    except FFEdgeError as error:
        return {"provider": None, "reason": str(error), "library": None, "refused": []}
    from ..kernels import cpu

    choice, library = provider.CHOICE, provider.LIBRARY
    refused = choice.found.refused if choice.found else []
    found: dict[str, Any] = {
        "provider": provider.NAME, "reason": choice.reason, "library": None,
        "refused": [{"path": str(path), "reason": reason} for path, reason in refused],
    }  # fmt: skip
    if library is not None:
        facts = library.facts
        found["library"] = {
            "path": str(facts.path), "bytes": facts.nbytes, "target": facts.target,
            "checksum": facts.checksum, "sources": facts.sources, "built_with": facts.built_with,
            "paths": {family: list(paths) for family, paths in facts.paths.items()},
        }  # fmt: skip
        return found | {"int8_path": library.int8_path, "float_path": library.float_path}
    plain = provider.NAME == "python"
    return found | {
        "int8_path": "generic" if plain else cpu.chosen(cpu.INT8_PATHS, cpu.INT8_WORDS),
        "float_path": "generic" if plain else cpu.chosen(cpu.FLOAT_PATHS),
    }


def _known_features() -> list[str]:
    from ..kernels import cpu

    families = (cpu.INT8_PATHS, cpu.FLOAT_PATHS)
    asked = {name for paths in families for known in paths.values() for needs in known.values()
             for name in needs}  # fmt: skip
    return sorted(asked & cpu.features())


def _caches() -> list[dict[str, Any]]:
    from ..kernels.folders import candidates, ours
    from ..kernels.library import cache_folder_name

    found = []
    for folder in candidates(cache_folder_name()):
        there = _first_that_exists(folder)
        found.append({
            "path": str(folder), "exists": folder.is_dir(),
            "writable": os.access(there, os.W_OK | os.X_OK),
            "private": ours(folder, (os.geteuid(),)) if folder.is_dir() else None,
        })  # fmt: skip
    return found


def _first_that_exists(folder: Path) -> Path:
    return next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(report: dict[str, Any]) -> str:
    kernels = report["kernels"]
    lines = [
        f"ffedge    {report['ffedge']}, Python {report['python']}, {sys.platform} on "
        f"{report['machine']}",
        f"kernels   {kernels['provider'] or 'none'}: {kernels['reason']}",
    ]
    if kernels["provider"]:
        lines.append(f"vectors   int8 {kernels['int8_path']}, float32 {kernels['float_path']}")
    library = kernels["library"]
    if library is not None:
        lines.append(
            f"library   {library['path']} ({show_bytes(library['bytes'])}), for "
            f"{library['target']}, checksum {library['checksum']}, built with "
            f"{library['built_with']}"
        )
        lines += [
            f"          {family}: {', '.join(paths)}" for family, paths in library["paths"].items()
        ]
    lines += [f"refused   {item['path']}: {item['reason']}" for item in kernels["refused"]]
    lines.append(f"features  {' '.join(report['cpu_features']) or 'none that matter here'}")
    for cache in report["caches"]:
        words = ["there" if cache["exists"] else "not there yet"]
        words.append("writable" if cache["writable"] else "not writable")
        if cache["private"] is False:
            words.append("refused: others may write to it")
        lines.append(f"cache     {cache['path']}: {', '.join(words)}")
    lines += [
        f"package   {name} {found or 'is not installed'}"
        for name, found in report["packages"].items()
    ]
    lines += [f"set       {name}={value}" for name, value in report["environment"].items()]
    return "\n".join(lines)
