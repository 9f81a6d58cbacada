"""The building: imports only go down, optional packages stay in their rooms, files stay small."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ffedge"
SIMULATION = ROOT / "firmware_sim"

#: A module may import its own floor or a lower one, and nobody above. Names are top-level
#: modules or folders of ffedge.
FLOORS = [
    ("errors", "tensor", "units", "described", "memory", "ranges"),
    ("kernels",),
    ("activations", "fields", "layers", "boxes", "rules", "optimizers", "scaling", "shifts",
     "atomic", "disk", "checkpoint_record", "checkpoint_store", "bins"),
    ("lowering",),
    ("network", "recipe", "plan", "arena", "buffers", "buffers_int8", "buffers_box",
     "scales_int8", "model", "model_file", "sources", "heap", "streaming", "training_file",
     "streamed_layer",
     "streamer", "signing", "replay", "reading"),
    ("visits", "run", "run_box", "fetching", "run_int8", "run_int8_layer", "pipeline", "predict",
     "trainer", "defaults", "checks", "parameters", "planner", "kept_outputs", "progress",
     "enforcement", "resume", "checkpointing", "unlabelled", "fit_reading", "new_classes", "drift",
     "stream_checkpoint", "scoring"),
    ("estimator", "anomaly", "export", "interop", "quantize", "firmware", "profiling",
     "pytest_plugin", "online", "prequential", "base_estimator", "online_classes", "regressor"),
    ("cli", "__main__"),
]  # fmt: skip

#: Packages beyond Python and NumPy: the only files that may import each, anywhere in the file.
ROOMS = {
    "numba": (
        "kernels/aarch64.py",
        "kernels/jit.py",
        "kernels/simd.py",
        "kernels/int8/vector.py",
        "kernels/int8/dot4.py",
        "kernels/int8/single.py",
        "kernels/int8/packed.py",
        "kernels/views.py",
        "firmware/thumb_ir.py",
        "lowering/lower.py",
    ),
    "llvmlite": (
        "kernels/aarch64.py",
        "kernels/simd.py",
        "kernels/int8/vector.py",
        "kernels/int8/packed.py",
        "firmware/emit.py",
        "firmware/thumb_ir.py",
        "lowering/lower.py",
        "lowering/targets.py",
    ),
    "pytest": ("pytest_plugin.py",),
    "onnx": ("export/onnx_check.py", "export/onnx_int8_check.py", "interop/onnx_box.py"),
    "onnxruntime": (
        "export/onnx_check.py",
        "export/onnx_int8_check.py",
        "interop/onnx_box.py",
    ),
    "sklearn": ("checks.py", "parameters.py"),
    "torch": ("interop/torch_backprop.py", "interop/torch_box.py"),
    "cryptography": ("signing/keys.py",),
}

#: The same for firmware_sim, which stands beside ffedge.
SIMULATION_ROOMS = {
    "icicle": ("icicle.py",),
    "unicorn": ("unicorn_emu.py", "unicorn_hooks.py"),
    "numba": ("unicorn_hooks.py",),
    "llvmlite": ("unicorn_hooks.py",),
}

MAX_LINES = 400

FILES = sorted(PACKAGE.rglob("*.py"))
SIMULATION_FILES = sorted(SIMULATION.rglob("*.py"))
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def place(path):
    """From the package's own folder."""
    top = SIMULATION if path.is_relative_to(SIMULATION) else PACKAGE
    return path.relative_to(top).as_posix()


def module_of(path):
    """The top-level module or folder that a file belongs to; None for ffedge/__init__.py."""
    first = path.relative_to(PACKAGE).parts[0]
    return None if first == "__init__.py" else first.removesuffix(".py")


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(path):
    """(line, absolute dotted name) of every import in a file, TYPE_CHECKING blocks left out."""
    package = list(path.relative_to(ROOT).parts[:-1])
    waiting = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        waiting += [child for child in ast.iter_child_nodes(node) if not is_type_checking(child)]
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def test_every_module_has_a_floor():
    assert {module_of(path) for path in FILES} - {None} == set(FLOOR_OF)


def test_imports_only_go_down():
    wrong = []
    for path in FILES:
        module = module_of(path)
        for line, name in imports(path):
            parts = name.split(".")
            # `from .. import __version__` reaches for the package itself, on no floor.
            if module is None or parts[0] != "ffedge" or parts[1] not in FLOOR_OF:
                continue
            if FLOOR_OF[parts[1]] > FLOOR_OF[module]:
                wrong.append(f"{place(path)}:{line} imports {name}")

    assert not wrong


def test_kernels_know_nothing_but_kernels_and_tensors():
    for path in (PACKAGE / "kernels").rglob("*.py"):
        reached = {name.split(".")[1] for _, name in imports(path) if name.startswith("ffedge.")}
        assert reached <= {"kernels", "tensor", "errors"}, place(path)


def test_packages_are_imported_in_their_own_rooms_only():
    wrong = [
        f"{place(path)}:{line} imports {name}"
        for path in FILES
        for line, name in imports(path)
        for package in [name.split(".")[0]]
        if package in ROOMS and place(path) not in ROOMS[package]
    ]

    assert not wrong


def test_ffedge_never_imports_the_simulation():
    assert not [place(p) for p in FILES for _, name in imports(p) if "firmware_sim" in name]


def test_the_simulation_imports_packages_in_their_own_rooms_only():
    import sys

    known = {"ffedge", "firmware_sim", "numpy", *sys.stdlib_module_names}
    wrong = [
        f"{place(path)}:{line} imports {name}"
        for path in SIMULATION_FILES
        for line, name in imports(path)
        for package in [name.split(".")[0]]
        if package not in known and place(path) not in SIMULATION_ROOMS.get(package, ())
    ]

    assert not wrong


def test_nothing_else_is_imported():
    import sys

    known = {"ffedge", "numpy", *ROOMS, *sys.stdlib_module_names}
    outside = {
        (place(path), name) for path in FILES for _, name in imports(path)
        if name.split(".")[0] not in known
    }  # fmt: skip

    assert not outside


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_nothing_that_runs_code_from_files_is_imported(module):
    assert not [p for p in FILES for _, name in imports(p) if name.split(".")[0] == module]


def test_arrays_are_never_loaded_with_pickles():
    for path in FILES + SIMULATION_FILES:
        assert "allow_pickle=True" not in path.read_text(), place(path)


def test_no_file_is_longer_than_a_reader_bears():
    long = {
        place(path): n
        for path in FILES + SIMULATION_FILES
        if (n := len(path.read_text().splitlines())) > MAX_LINES
    }

    assert not long


def test_no_path_of_somebodys_machine_is_written_down():
    found = [
        f"{place(path)}: {match[0]}"
        for path in FILES + SIMULATION_FILES
        for match in re.finditer(r"/(?:home|root|work|Users|opt|mnt)/\w+", path.read_text())
    ]

    assert not found


@pytest.mark.parametrize("name", ["utils", "core", "common", "helpers", "types", "profile"])
def test_no_file_has_a_name_that_says_nothing(name):
    assert not [place(path) for path in FILES if path.stem == name]
