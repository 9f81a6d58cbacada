"""Answer Hinton's open questions: every run of ``reproduce_questions``, as one Markdown table.

python tools/seed_questions.py [--only WORDS] [--samples N] [--epochs N] [--seed 0]
python tools/seed_questions.py --validate      which rate is best on held-out training images
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse

from datasets import folder
from reproduce_questions import EPOCHS, HEAD, RUNS, best_rate

from ffedge.sources import load

#: Training images held out to choose rates.
HELD = 10_000


def main() -> None:
    """Print rates by accuracy on held-out images, or the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--validate", action="store_true", help="choose rates; test is not read")
    parser.add_argument(
        "--only", metavar="WORD", default="", help="runs whose name holds it, or several words: a,b"
    )
    parser.add_argument("--samples", type=int, metavar="N", help="training images (default: all)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", help="folder of mnist.npz")
    options = parser.parse_args()
    train, test = load("mnist", data_dir=options.data_dir or folder(None))
    assert test is not None
    rest, held = train.split(HELD / train.n_samples, options.seed)
    part = rest if options.validate else train
    if options.samples is not None and options.samples < part.n_samples:
        _, part = part.split(options.samples / part.n_samples, options.seed)
    chosen = {
        name: run
        for name, run in RUNS.items()
        if any(word in name for word in options.only.split(","))
    }
    if not options.validate:
        print(HEAD, flush=True)
    for name, run in chosen.items():
        if options.validate:
            found = best_rate(run, part, held, options.seed, options.epochs)
            cells = ", ".join(f"{rate:g}: {accuracy:.2f} %" for rate, accuracy in found.items())
            print(f"{name}: {cells}", flush=True)
        else:
            result = run.measure(name, options.seed, options.epochs, part, test)
            print(run.words(result), flush=True)


if __name__ == "__main__":
    main()
