"""The machine that figures hold for, as tools print it."""

from __future__ import annotations

import platform
from contextlib import suppress
from typing import Any


def machine(*modules: str) -> dict[str, Any]:
    """Architecture, processor, Python, and the versions of ``modules``; None: not installed."""
    versions: dict[str, str | None] = {}
    for module in modules:
        try:
            versions[module] = __import__(module).__version__
        except ImportError:
            versions[module] = None
    model = ""
    with suppress(OSError), open("/proc/cpuinfo") as cpuinfo:
        names = (line for line in cpuinfo if line.startswith("model name"))
        model = next(names, ":").split(":")[1].strip()
    return {
        "machine": platform.machine(), "cpu": model, "python": platform.python_version(),
        **versions,
    }  # fmt: skip
