"""Real libraries from the kernels: what is in them and what is not."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import ROOT, child_environment
from test_lowering_elf import segments

from ffedge.errors import ConfigError
from ffedge.kernels import cpu, library_file, signatures
from ffedge.kernels.library import sources_digest
from ffedge.kernels.provider import LIBRARY
from ffedge.lowering import targets
from ffedge.sources.labels import code_dtype
from ffedge.sources.stored import KEPT_DTYPES

pytest.importorskip("llvmlite", reason="needs numba")

from ffedge.lowering.build import build, write


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A library for the other architecture, its best paths only."""
    name = "x86-64" if cpu.architecture() == "aarch64" else "pi-zero2"
    return build(targets.named(name), has=())


def test_a_library_can_be_built_for_another_architecture(foreign, tmp_path):
    write(foreign, tmp_path / "library.so")

    facts = library_file.read(tmp_path / "library.so")

    assert facts.architecture == foreign.target.architecture != cpu.architecture()
    assert facts.sources == sources_digest()
    assert {name for name, _, _ in facts.kernels} == set(signatures.read_table())


def test_a_library_needs_nothing_from_outside_and_writes_nowhere(foreign):
    loaded = [found for found in segments(foreign.data) if found[0] == 1]

    # No relocation, no needed library, no undefined symbol: the dynamic section has six entries.
    assert [found[4] for found in loaded if found[1] & 2] == [6 * 16]


def test_a_machine_without_the_features_would_not_get_its_paths(foreign):
    assert foreign.paths in (("int8.neon", "float.neon"), ("int8.generic", "float.sse"))


@pytest.mark.skipif(LIBRARY is None, reason="needs FFEDGE_KERNELS=library")
def test_all_paths_of_an_architecture_fit_one_mebibyte():
    assert LIBRARY.facts.nbytes <= 1 << 20
    if LIBRARY.facts.built_with:
        assert set(LIBRARY.facts.paths["int8"]) == set(cpu.INT8_PATHS[cpu.architecture()])


@pytest.mark.parametrize("name", targets.NAMES)
def test_every_target_has_an_architecture(name):
    assert targets.named(name).architecture in library_file.MACHINES


def test_an_unknown_target_is_refused():
    with pytest.raises(ConfigError, match="expected one of host, pi-zero2"):
        targets.named("z80")


# The table of types.


def kernels_called_from_python():
    """Names of kernels that ffedge, outside its kernels, reaches for."""
    # Those of a device are called by the device alone.
    known = {name.rpartition(".")[2] for name in all_kernels() if not name.startswith("device.")}
    found = set()
    for path in (ROOT / "ffedge").rglob("*.py"):
        if "kernels" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                module = ast.unparse(getattr(node.func, "value", ast.Constant("")))
                kernels = "classes|dense|group|normalize|readout|random|batch|step|start|optimize"
                if name in known and re.fullmatch(rf"(?:int8_)?(?:{kernels}|input)|''", module):
                    found.add(name)
    return found


def all_kernels():
    for path in (ROOT / "ffedge" / "kernels").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(decorator).startswith("kernel(") for decorator in node.decorator_list
            ):
                place = path.relative_to(ROOT / "ffedge" / "kernels").with_suffix("")
                yield ".".join([*place.parts, node.name])


def test_the_table_names_kernels_only():
    assert set(signatures.read_table()) <= set(all_kernels())


#: Kernels of rarer rules and read-outs, which Numba runs beside the library; see kernels/twin.py.
BESIDE = {"add_product", "clear_outside", "frozen_open_delta", "keep_rows", "open_delta"}


def test_every_kernel_that_ffedge_calls_is_in_the_table_or_known_to_stand_beside():
    exported = {name.rpartition(".")[2] for name in signatures.read_table()}

    called = kernels_called_from_python()

    assert called > {"readout_steps", "add_moments", "fetch", "fetch_batch", "forward"}
    assert called - exported == BESIDE


FEATURES = {dtype.str[1:] for dtype in KEPT_DTYPES}
LABELS = {code_dtype(classes).str[1:] for classes in (2, 300, 70_000)}
ROWS = {np.dtype(kind).str[1:] for kind in (np.int32, np.int64)}


@pytest.mark.parametrize(
    ("kernel", "choices"),
    [
        ("batch.fetch", {0: FEATURES, 1: ROWS}),
        ("batch.fetch_batch", {0: FEATURES, 1: LABELS, 2: ROWS}),
        ("batch.fetch_labels", {0: LABELS, 1: ROWS}),
        ("int8.input.fetch", {0: FEATURES, 1: ROWS}),
        ("moments.add_moments", {0: FEATURES, 1: ROWS}),
    ],
)
def test_every_type_that_sources_deliver_is_exported(kernel, choices):
    lines = signatures.read_table()[kernel]

    for place, codes in choices.items():
        assert codes <= {words[place][:2] for words in lines}


# Without Numba.

PROGRAM = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
from ffedge import FFClassifier
from ffedge.kernels import provider
model = FFClassifier((16,), max_iter=20).fit(np.eye(4, dtype=np.float32), list("abcd"))
print(provider.NAME, len(model.predict(np.eye(4))))
"""


def run(**environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True,
        check=False, env=child_environment(**environment), cwd=Path(__file__).parent,
    )  # fmt: skip


@pytest.mark.skipif(LIBRARY is None, reason="needs FFEDGE_KERNELS=library")
def test_a_library_runs_without_numba():
    done = run(FFEDGE_LIBRARY=str(LIBRARY.path), FFEDGE_KERNELS=None)

    assert done.stdout.split() == ["library", "4"], done.stderr


def test_plain_python_runs_without_numba():
    done = run(FFEDGE_KERNELS="python")

    assert done.stdout.split() == ["python", "4"], done.stderr
