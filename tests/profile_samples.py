"""Profiles as a profiler would make them, from real plans: only the measurements are invented."""

from __future__ import annotations

from ffedge import __version__
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.plan import CATEGORIES, END
from ffedge.recipe import Recipe
from ffedge.trainer import Trainer


def sample_profile(
    features=64, hidden=(64, 64), classes=10, *, precision="float32", schedule="sweep",
    batch_size=16, budget=None, data="digits", **changes,
):  # fmt: skip
    """The profile of an imagined run; ``changes`` replace whole fields."""
    network = Network.dense(features, hidden, classes, precision=precision)
    optimizer = SGD(0.05) if precision == "int8" else Adam()
    recipe = Recipe(optimizer, batch_size=batch_size, schedule=schedule)
    trainer = Trainer(network, recipe, budget=budget)
    moments = _timeline(trainer.plan, network, recipe)
    peak = trainer.plan.peak
    seconds = sum(moment["seconds"] for moment in moments)
    return {
        "format": 1, "ffedge": __version__, "network": network.text, "rule": network.rule.name,
        "precision": precision, "data": data, "recipe": recipe.describe(), "budget": budget,
        "planned_bytes": peak, "measured_bytes": peak, "error_percent": 0.0,
        "alive_bytes": max(sum(moment["bytes"].values()) for moment in moments),
        "touched_bytes": peak, "step_bytes": 824, "categories": [*CATEGORIES, "runtime"],
        "timeline": moments, "buffers": [_buffer(buffer) for buffer in trainer.plan.buffers],
        "process": {
            "interpreter": 9_437_184, "numpy": 17_825_792, "kernels": 96_468_992,
            "ffedge": 5_242_880, "training": peak + 1_300_000,
            "peak": 130_274_848 + peak, "kernels_by": "jit",
        },
        "storage": {"read": 0, "written": 0, "process_written": 81_920},
        "samples": 1_797, "steps": 1_130, "seconds": seconds, "seconds_unwatched": seconds * 0.97,
        "overhead_percent": 3.1, "fits": _fits(peak, precision),
    } | changes  # fmt: skip


def _timeline(plan, network, recipe):
    depth, layerwise = len(network.layers), recipe.schedule == "layerwise"
    steps = [(0, 0, "scaler", None)]
    for stage in range(1, recipe.stages(depth) + 1):
        steps.append((stage, 0, "fetch", None))
        run = range(stage if layerwise else depth)
        steps += [(stage, i + 1, f"layer {i}", i) for i in run]
    return [
        {
            "stage": stage, "phase": phase, "label": label, "layer": layer,
            "seconds": _seconds(network, layer), "passes": 113 if stage else 2,
            "bytes": _alive(plan, stage, phase),
        }
        for stage, phase, label, layer in steps
    ]  # fmt: skip


def _seconds(network, layer):
    if layer is None:
        return 0.021
    shape = network.layers[layer]
    return 1e-3 + shape.in_features * shape.out_features * 4e-7


def _alive(plan, stage, phase):
    sizes = dict.fromkeys((*CATEGORIES, "runtime"), 0)
    for buffer in plan.buffers:
        (first, last), (start, end) = buffer.need.stages, buffer.need.phases
        if first <= stage <= last and start <= phase <= end:
            sizes[buffer.category] += buffer.spec.nbytes
    return sizes


def _interval(ends):
    return [None if end == END else end for end in ends]


def _buffer(buffer):
    return {
        "name": buffer.name, "category": buffer.category, "shape": list(buffer.spec.shape),
        "dtype": buffer.spec.dtype, "bytes": buffer.spec.nbytes, "offset": buffer.offset,
        "stages": _interval(buffer.need.stages), "phases": _interval(buffer.need.phases),
        "lifetime": buffer.need.life,
    }  # fmt: skip


def _fits(peak, precision):
    boards = [
        ("rp2040", "Raspberry Pi Pico", 264), ("nrf52840", "nRF52840", 256),
        ("stm32f746", "STM32F746 Discovery", 320), ("mps2-an500", "Arm MPS2 with Cortex-M7", 4096),
    ]  # fmt: skip
    computers = [
        ("pi-zero-2", "Raspberry Pi Zero 2 W", 512),
        ("pi-4", "Raspberry Pi 4, 4 GB", 4096),
    ]
    targets = []
    for name, title, kib in boards:
        needed = peak + 9_000 if precision == "int8" else None
        targets.append({
            "name": name, "title": title, "kind": "microcontroller", "memory_bytes": kib * 1024,
            "needed_bytes": needed, "fits": needed is not None and needed <= kib * 1024,
            "note": "" if needed else "trains in int8 only",
        })  # fmt: skip
    for name, title, mib in computers:
        needed = peak + 130_000_000
        targets.append({
            "name": name, "title": title, "kind": "computer", "memory_bytes": mib << 20,
            "needed_bytes": needed, "fits": needed <= mib << 20, "note": "",
        })  # fmt: skip
    return targets
