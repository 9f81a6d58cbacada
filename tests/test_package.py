"""The package: light to import, few names, every one explained."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ffedge
from ffedge.errors import (
    BudgetError,
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    ExportError,
    FFEdgeError,
    MissingDependencyError,
    SignatureError,
)
from ffedge.kernels import provider

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "onnx", "onnxruntime", "torch", "sklearn", "scipy", "matplotlib", "numba", "llvmlite", "pandas",
    "skl2onnx", "cryptography",
)  # fmt: skip


def loaded_after(code):
    """Which of the heavy packages a fresh interpreter has loaded after ``code``."""
    script = f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_heavy():
    assert loaded_after("import ffedge") == set()


@pytest.mark.parametrize("name", ["BudgetError", "load"])
def test_errors_and_data_load_nothing_heavy(name):
    assert loaded_after(f"import ffedge; ffedge.{name}") == set()


def test_the_classifier_loads_numba_at_most():
    code = (
        "import ffedge, numpy as np\n"
        "ffedge.FFClassifier((4,), max_iter=1).fit(np.eye(4), [0, 1, 0, 1]).predict(np.eye(4))"
    )

    jit = provider.NAME == "jit" or os.environ.get("NUMBA_DISABLE_JIT") == "1"
    wanted = {"numba", "llvmlite"} if jit else set()

    # Numba looks at SciPy's version where it is installed.
    assert loaded_after(code) - {"scipy"} == wanted


def test_import_does_not_even_load_numpy():
    script = "import sys, ffedge; print('numpy' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert done.stdout.strip() == "False"


def test_there_are_at_most_twenty_public_names_and_all_can_be_had():
    assert len(ffedge.__all__) <= 20
    assert ffedge.__all__ == sorted(ffedge.__all__) == sorted(ffedge._HOMES)
    for name in ffedge.__all__:
        assert getattr(ffedge, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ffedge.Nothing


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "ffedge" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))

    names = {alias.name for node in block.body for alias in node.names}

    assert names == set(ffedge.__all__)


def modules():
    for info in pkgutil.walk_packages(ffedge.__path__, "ffedge."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def described(owner, name, member):
    """Whether the member, or what it overrides, has a docstring."""
    if inspect.getdoc(member):
        return True
    return any(inspect.getdoc(getattr(base, name, None)) for base in owner.__mro__[1:])


def test_every_public_module_class_and_function_is_described():
    missing = []
    for module in modules():
        if not module.__doc__ and module.__name__ != "ffedge.kernels":
            missing.append(module.__name__)
        for name, value in vars(module).items():
            value = getattr(value, "py_func", value)  # a kernel's own function
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            home = (value.__module__, value.__name__)
            if name.startswith("_") or home != (module.__name__, name):
                continue
            where = f"{module.__name__}.{name}"
            if not getattr(value, "__doc__", None):
                missing.append(where)
            if inspect.isclass(value):
                missing += [
                    f"{where}.{member}"
                    for member, body in vars(value).items()
                    if inspect.isfunction(body)
                    and not member.startswith("_")
                    and not described(value, member, body)
                ]

    assert not missing


@pytest.mark.parametrize(
    ("kind", "code", "also"),
    [
        (ConfigError, 2, ValueError), (MissingDependencyError, 2, ImportError),
        (BudgetError, 3, FFEdgeError), (DataError, 4, ValueError),
        (CheckpointError, 5, FFEdgeError), (SignatureError, 5, CheckpointError),
        (ExportError, 6, FFEdgeError), (DeviceError, 7, FFEdgeError),
    ],
)  # fmt: skip
def test_every_error_has_its_exit_code_and_its_family(kind, code, also):
    assert kind.exit_code == code
    assert issubclass(kind, FFEdgeError)
    assert issubclass(kind, also)


def test_errors_carry_their_figures():
    budget = BudgetError("too much", required=10, budget=7)
    missing = MissingDependencyError("onnx", "onnx", "export_onnx")
    device = DeviceError("no", status=3)

    assert (budget.required, budget.budget, budget.missing) == (10, 7, 3)
    assert 'run: pip install "ffedge[onnx]"' in str(missing)
    assert device.status == 3


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "ffedge" / "py.typed").is_file()
