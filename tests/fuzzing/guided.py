"""Inputs chosen by coverage: libFuzzer by way of atheris, with the same readers and the same judge.

ffedge must not have been imported before ``run``: its modules are instrumented while they are.
No reader runs a kernel, so Numba never meets instrumented bytecode.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

#: Most bytes of an input.
MAX_BYTES = 1 << 16


def run(
    name: str, *, executions: int | None, seconds: float | None, seed: int, keep: Path | None
) -> dict[str, Any]:
    """One target, in a child process; the report as JSON types.

    Raises ImportError without atheris.
    """
    import atheris

    with atheris.instrument_imports(include=["ffedge"]):
        from . import campaign, judge
        from .mutations import mutate
        from .targets import memory_folder, place, targets

    context = multiprocessing.get_context("fork")
    executed, refused, crashes = (context.RawValue("q", 0) for _ in range(3))
    if name not in targets():
        raise SystemExit(f"fuzz: expected a target of {', '.join(targets())}, got {name}")
    target = targets()[name]
    good = target.seeds()
    folder = Path(tempfile.mkdtemp(prefix="ffedge-fuzz-", dir=memory_folder()))
    corpus, scratch = folder / "corpus", folder / "scratch"
    for path in (corpus, scratch):
        path.mkdir()
    for number, one in enumerate(good):
        (corpus / str(number)).write_bytes(one.prefix + one.data)

    def one_input(data: bytes) -> None:
        verdict = judge.examine(target.read, data, traced=executed.value % campaign.TRACED == 0)
        executed.value += 1
        refused.value += verdict.refused
        if verdict.crash is not None:
            crashes.value += 1
            if keep is not None and crashes.value <= 100:
                path = keep / f"{name}-guided-{crashes.value}.bin"
                path.write_bytes(data)
                path.with_suffix(".txt").write_text(f"{verdict.crash}\n\n{verdict.trace}")

    def change(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        # Ours know the structure; they begin with what coverage has chosen.
        kind = rng.choice(good)
        size = len(kind.prefix)
        return mutate(rng, [type(kind)(kind.kind, data[size:], data[:size])])[:most]

    def work() -> None:
        place.folder = scratch
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        # What libFuzzer says about itself is no result.
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        options = [f"-seed={seed + 1}", f"-max_len={MAX_BYTES}", "-timeout=60"]
        options.append(f"-runs={-1 if executions is None else executions}")
        if seconds is not None:
            options.append(f"-max_total_time={int(seconds)}")
        atheris.Setup(["fuzz", *options, str(corpus)], one_input, custom_mutator=change)
        judge.watch_process(scratch)
        atheris.Fuzz()

    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    child = context.Process(target=work)
    child.start()
    child.join()
    shutil.rmtree(folder, ignore_errors=True)
    died = child.exitcode != 0
    return {
        "engine": "atheris", "executions": executed.value, "crashes": crashes.value + died,
        "seconds": round(time.monotonic() - started, 1), "seed": seed, "jobs": 1,
        "targets": {name: {
            "executions": executed.value, "refused": refused.value,
            "crashes": crashes.value + died,
        }},
        "found": [{"target": name, "input": -1, "what": f"exit code {child.exitcode}"}] * died,
    }  # fmt: skip
