"""The vector primitives against their formulas, and every vector path against this machine's."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from checks import PLAIN_PYTHON, assert_close, child_environment, sparse_rows, workspace

from ffedge.kernels import cpu
from ffedge.kernels.dense import add_gradient, dense_forward
from ffedge.kernels.optimize import momentum
from ffedge.kernels.provider import LIBRARY, kernel
from ffedge.kernels.readout import readout_scores
from ffedge.kernels.simd import (  # PATH: for the children
    LANE_ROWS,
    PANELS,
    PATH,  # noqa: F401
    ROWS,
    SHAPES,
    SPARSE_PANELS,
    host_path,
    lanes_full,
    lanes_one,
    sparse_full,
    sparse_one,
    tile_column,
    tile_full,
    tile_one,
    tile_row,
)

pytestmark = pytest.mark.kernels

COUNTS = [0, 1, 7]


# An intrinsic can be called from compiled code only.


@kernel()
def call_tile(kind, a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel):
    if kind == 0:
        tile_full(a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel)
    elif kind == 1:
        tile_row(a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel)
    elif kind == 2:
        tile_column(a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel)
    else:
        tile_one(a, a0, a_row, a_step, blocks, a_block, count, b, b0, b_panel, c, c0, c_panel)


@kernel()
def call_sparse(full, a, a0, index, offset, count, b, b0, b_panel, c, c0, c_panel):
    if full:
        sparse_full(a, a0, index, offset, count, b, b0, b_panel, c, c0, c_panel)
    else:
        sparse_one(a, a0, index, offset, count, b, b0, b_panel, c, c0, c_panel)


@kernel()
def call_lanes(full, a, a0, a_step, count, b, b0, b_step, c, c0):
    if full:
        lanes_full(a, a0, a_step, count, b, b0, b_step, c, c0)
    else:
        lanes_one(a, a0, a_step, count, b, b0, b_step, c, c0)


def numbers(seed, size):
    return np.random.default_rng(seed).normal(size=(1, size, 1)).astype(np.float32)


@pytest.mark.parametrize(("rows", "panels"), [(ROWS, PANELS), (1, PANELS), (ROWS, 1), (1, 1)])
@pytest.mark.parametrize("blocks", COUNTS)
@pytest.mark.parametrize("count", COUNTS)
def test_a_tile_adds_the_sum_of_its_formula_and_touches_nothing_else(rows, panels, blocks, count):
    kind = [(ROWS, PANELS), (1, PANELS), (ROWS, 1), (1, 1)].index((rows, panels))
    a_row, a_step, a_block, b_panel, c_panel = 3, 5, 40, 1000, 200
    a, b, c = numbers(1, 400), numbers(2, 4000), numbers(3, 1000)
    wanted = c.astype(float).ravel()
    terms = list(itertools.product(range(blocks), range(count)))
    for r, v, lane in itertools.product(range(rows), range(panels), range(16)):
        wanted[9 + v * c_panel + r * 16 + lane] += sum(
            float(a[0, 2 + k * a_block + i * a_step + r * a_row, 0])
            * float(b[0, 4 + v * b_panel + (k * count + i) * 16 + lane, 0])
            for k, i in terms
        )

    call_tile(kind, a, 2, a_row, a_step, blocks, a_block, count, b, 4, b_panel, c, 9, c_panel)

    assert_close(c.ravel(), wanted, 1e-5)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("count", COUNTS)
def test_a_sparse_row_adds_the_listed_terms_only(full, count):
    panels = SPARSE_PANELS if full else 1
    a, b, c = numbers(1, 100), numbers(2, 5000), numbers(3, 1000)
    index = np.array([0, 30, 3, 4, 9, 11, 12], np.int32)
    offset = np.array([0, 90, 5, 6, 7, 20, 21], np.int64)
    wanted = c.astype(float).ravel()
    for v, lane in itertools.product(range(panels), range(16)):
        wanted[9 + v * 100 + lane] += sum(
            float(a[0, 2 + offset[i], 0]) * float(b[0, 4 + v * 600 + index[i] * 16 + lane, 0])
            for i in range(count)
        )

    call_sparse(full, a, 2, index, offset, count, b, 4, 600, c, 9, 100)

    assert_close(c.ravel(), wanted, 1e-5)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("count", COUNTS)
def test_lanes_add_the_sum_over_all_lanes_of_a_row(full, count):
    a, b, c = numbers(1, 200), numbers(2, 1000), numbers(3, 20)
    wanted = c.astype(float).ravel()
    for r in range(LANE_ROWS if full else 1):
        wanted[9 + r] += sum(
            float(a[0, 2 + i * 20 + lane, 0]) * float(b[0, 4 + i * 90 + r * 16 + lane, 0])
            for i, lane in itertools.product(range(count), range(16))
        )

    call_lanes(full, a, 2, 20, count, b, 4, 90, c, 9)

    assert_close(c.ravel(), wanted, 1e-5)


@pytest.mark.skipif(LIBRARY is not None, reason="the library has chosen already")
@pytest.mark.parametrize("path", SHAPES)
def test_the_environment_forces_a_vector_path(monkeypatch, path):
    monkeypatch.setenv("FFEDGE_SIMD", path)

    assert host_path() == path


@pytest.mark.skipif(LIBRARY is not None, reason="the library has chosen already")
@pytest.mark.parametrize(
    ("machine", "path"), [("aarch64", "neon"), ("arm64", "neon"), ("riscv64", "generic")]
)
def test_the_vector_path_follows_the_machine(monkeypatch, machine, path):
    monkeypatch.setenv("FFEDGE_SIMD", "no such path")
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)

    assert host_path() == path


@pytest.mark.parametrize("path", SHAPES)
def test_every_tile_fits_the_workspace_and_whole_panels_of_inputs(path):
    rows, panels, sparse = SHAPES[path]

    assert 1 <= rows <= 16
    assert 1 <= panels <= sparse


def products():
    """One result of every product, flat: what all vector paths must agree on."""
    random = np.random.default_rng(4)
    X, D = sparse_rows(random, 13, 37), random.normal(size=(13, 145)) / 13
    x, delta = reference.pack_rows(X), reference.pack_rows(D)
    weight = reference.pack_weights(random.normal(size=(37, 145)) / 6)
    bias = reference.pack_weights(random.normal(size=(1, 145)))
    out, scores = np.empty_like(delta), np.empty((13, 7), np.float32)
    tile, velocity = np.empty((PANELS, ROWS, 16), np.float32), np.zeros_like(weight)

    dense_forward(x, 13, weight, bias, *workspace(37), out)
    readout_scores(out, 13, reference.pack_weights(random.normal(size=(7, 145)) / 12), scores)
    add_gradient(x, 13, delta, *workspace(37), weight)
    momentum(
        x, 13, delta, weight, velocity, tile, np.float32(0.1), np.float32(0.9), np.float32(0.99)
    )
    return np.concatenate([a.ravel() for a in (out, scores, weight, velocity)])


def unsupported(path):
    if LIBRARY is not None:
        return path not in LIBRARY.float_paths
    if PLAIN_PYTHON or path != "avx512":
        return False
    import llvmlite.binding as llvm

    return not llvm.get_host_cpu_features().get("avx512f")


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    """A process for every vector path, all started at once: path -> (process, its result)."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy, test_kernels_simd as test\n"
        "assert test.PATH == sys.argv[2]\n"
        "numpy.save(sys.argv[3], test.products())"
    )
    folder, started = tmp_path_factory.mktemp("paths"), {}
    for path in ("avx512", "avx2", "sse", "generic"):
        if not unsupported(path):
            arguments = [str(Path(__file__).parent), path, str(folder / f"{path}.npy")]
            process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                env=child_environment(FFEDGE_SIMD=path), stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            started[path] = process, folder / f"{path}.npy"
    yield started
    for process, _ in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("path", ["avx512", "avx2", "sse", "generic"])
def test_every_vector_path_gives_the_same_products(children, path):
    if path not in children:
        pytest.skip("this machine, or the library, does not have it")
    process, result = children[path]
    wanted = products()

    _, complaints = process.communicate(timeout=300)

    assert process.returncode == 0, complaints
    assert_close(np.load(result), wanted, 1e-5)
