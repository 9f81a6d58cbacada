"""Measure every rule that has a word, as the table of docs/rules.md.

    python tools/rules.py [RULE ...] [--hidden 500,500] [--epochs 10] [--data-dir FOLDER]
                          [--out FILE]

Each rule trains on MNIST and Fashion-MNIST with the same recipe (Adam 0.001, batches of 64, seed
0, the input scaled as ffedge scales images); the test part is read once, at the end. What it
takes is counted from the network: multiply-adds a sample and planned bytes. Results go to FILE as
JSON lines, and what stands there is not measured again.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import time
from pathlib import Path
from typing import Any

from datasets import folder

from ffedge.buffers import plan_training
from ffedge.cli.progress import ProgressLine
from ffedge.errors import ConfigError
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES, Headed, Rule
from ffedge.sources import Dataset, load
from ffedge.trainer import Trainer
from ffedge.unlabelled import fit_head, pretrain

SETS = ("mnist", "fashion-mnist")

#: Where each rule comes from; docs/rules.md says what was changed.
SOURCES = {
    "readout": "Mono-Forward, arXiv 2501.09238",
    "readout-frozen": "the same, M random as in TinyFoA",
    "group": "CwC, arXiv 2312.12668",
    "group-mean": "DeeperForward, 2025",
    "prototypes": "HFF, arXiv 2605.00082",
    "side-channel": "FFCL, arXiv 2405.12443, objective ours",
    "side-channel-logistic": "the same, logistic loss of every class",
    "hinton": "Hinton 2022, section 3.3",
    "hinton-collaborating": "arXiv 2305.12393",
    "hinton-minimising": "Hinton 2022, section 4",
    "hinton-unsquared": "Hinton 2022, section 10",
    "hinton-top-k": "after arXiv 2604.13081",
    "hinton-signed": "Hinton 2022, section 10; Welling 2003",
    "symba": "arXiv 2303.08418",
    "swish": "dah33, explore_forward_forward",
    "scff": "arXiv 2409.11593",
    "hybrid": "Hinton 2022, section 3.2",
    "corrupted": "ours, after denoising",
    "mixed": "ours, after section 3.2",
    "other-sample": "arXiv 2409.11593, as a plain contrast",
    "generated": "Hinton 2022, section 6.2",
    "top-down": "Hinton 2022, section 3.4",
    "fast-weights": "Ba et al. 2016, arXiv 1610.06258",
}


def works_in_int8(rule: Rule, hidden: tuple[int, ...]) -> bool:
    """Whether the rule trains in 8 bits."""
    try:
        plan_training(Network.dense(784, hidden, 10, rule, precision="int8"), Recipe(SGD(0.25)))
    except ConfigError:
        return False
    return True


def measure(word: str, name: str, hidden: tuple[int, ...], epochs: int, data: Path) -> Any:
    """Train one rule on one set; the row as JSON types.

    A rule without labels trains the layers first, then its head for as many epochs; its work is
    that of the layers.
    """
    train, test = load(name, data_dir=data)
    assert test is not None
    rule = NAMED_RULES[word].fitted(train.feature_shape)
    network = Network.dense(train.width, hidden, len(train.classes), rule)
    recipe = Recipe(epochs=epochs, scaling="global" if name == "mnist" else "standard")
    begin, learning = time.perf_counter(), network
    if isinstance(rule, Headed):
        learning = Network.dense(train.width, hidden, 1, rule.learned)
        model = fit_head(pretrain(train, hidden, rule.learned, recipe), train, rule.head, recipe)
        right = accuracy(model, test)
    else:
        trainer = Trainer(network, recipe)
        trainer.learn_scaling(train)
        with ProgressLine() as line:
            for progress in trainer.train(train):
                line.show(progress)
        right = trainer.evaluate(test)
    work = learning.rule.work(learning)
    return {
        "rule": word, "data": name, "network": network.text, "epochs": epochs,
        "test_accuracy": 100 * right, "seconds": time.perf_counter() - begin,
        "forward": work.forward, "update": work.update,
        "predict": network.rule.work(network).predict,
        "training_multiply_adds": learning.training_work,
        "prediction_multiply_adds": network.prediction_work,
        "planned_bytes": plan_training(learning, recipe).peak,
        "int8": works_in_int8(rule, hidden),
    }  # fmt: skip


def accuracy(model: Model, data: Dataset) -> float:
    """Share of the samples that the model gets right."""
    predictor = Predictor(model)
    right = sum(
        int((scores.argmax(axis=1) == codes).sum()) for scores, codes in predictor.batches(data)
    )
    return right / data.n_samples


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a line for each rule."""
    lines = [
        "| rule | passes: forward + update, predict | training | prediction | bytes | MNIST | "
        "Fashion | int8 | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for word in dict.fromkeys(row["rule"] for row in rows):
        found = {row["data"]: row for row in rows if row["rule"] == word}
        row = next(iter(found.values()))
        right = [f"{found[name]['test_accuracy']:.2f}" if name in found else "" for name in SETS]
        lines.append(
            f"| `{word}` | {row['forward']} + {row['update']}, {row['predict']} | "
            f"{row['training_multiply_adds'] / 1e6:.2f} M | "
            f"{row['prediction_multiply_adds'] / 1e6:.2f} M | {row['planned_bytes']:,} | "
            f"{right[0]} | {right[1]} | {'yes' if row['int8'] else 'no'} | "
            f"{SOURCES.get(word, '')} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is not in the file yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rules", nargs="*", metavar="RULE", default=[],
                        help="default: all")  # fmt: skip
    parser.add_argument("--hidden", default="500,500", help="default: 500,500")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--data-dir", help="folder of mnist and fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("rules.jsonl"),
                        help="default: rules.jsonl")  # fmt: skip
    options = parser.parse_args()
    unknown = set(options.rules) - set(NAMED_RULES)
    if unknown:
        parser.error(f"expected rules among {', '.join(NAMED_RULES)}, got {', '.join(unknown)}")
    hidden = tuple(int(width) for width in options.hidden.split(","))
    rows = []
    if options.out.exists():
        rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {(row["rule"], row["data"]) for row in rows}
    for word in options.rules or NAMED_RULES:
        for name in SETS:
            if (word, name) in done:
                continue
            row = measure(word, name, hidden, options.epochs, folder(options.data_dir))
            rows.append(row)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{word} {name}: {row['test_accuracy']:.2f} %, {row['seconds']:.0f} s",
                  flush=True)  # fmt: skip
    print(table(rows))


if __name__ == "__main__":
    main()
