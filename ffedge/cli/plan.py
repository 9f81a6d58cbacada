"""``ffedge plan``: every byte of a training run, before it starts."""

from __future__ import annotations

import argparse
import json

from ..buffers import plan_prediction
from ..errors import ConfigError
from ..network import Network
from ..plan import Plan
from ..planner import Choice
from ..rules import word_for
from ..units import short_bytes, show_bytes
from .options import activation_for, add_budget, add_recipe, read_recipes, rule_of, widths_argument
from .prepare import choose_plan

NAME = "plan"
HELP = "Show the bytes a network needs, buffer by buffer, without training it."
EXAMPLE = "example: ffedge plan 784-128-128-10 --batch-size 16 --budget 1MiB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Network, recipe and budget."""
    parser.add_argument(
        "network", metavar="NETWORK", type=widths_argument,
        help="widths: features, hidden layers, classes: 784-128-128-10; 1 class: without labels",
    )  # fmt: skip
    add_recipe(parser)
    add_budget(parser)
    parser.add_argument(
        "--input-parts", type=int, choices=(1, 2), default=1,
        help="in int8: 2 for features that come below zero (default: 1)",
    )  # fmt: skip
    parser.add_argument("--predict", action="store_true",
                        help="the plan of prediction instead of training")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the plan; BudgetError (exit code 3) if it exceeds the budget."""
    if len(options.network) < 3:
        raise ConfigError(
            "plan: expected at least three widths (features, hidden layer, classes), got "
            f"{'-'.join(map(str, options.network))}"
        )
    features, *hidden, classes = options.network
    options.unlabelled = classes == 1
    rule = rule_of(options)
    network = Network.dense(
        features, hidden, classes, rule,
        precision=options.precision, input_parts=options.input_parts,
        activations=activation_for(options, rule),
    )  # fmt: skip
    recipes = read_recipes(options, features=features, batch_size=64, epochs=10, scaling="standard")
    choice = None
    if options.predict:
        plan = plan_prediction(network, recipes[0].batch_size, options.budget)
    else:
        choice = choose_plan(options, network, recipes)
        plan = choice.plan
    if options.json:
        print(json.dumps(as_json(network, plan, options.budget, choice)))
        return 0
    print(table(plan))
    print(f"work: {network.training_work:,} multiply-adds a sample in training, "
          f"{network.prediction_work:,} in prediction")  # fmt: skip
    if choice is not None:
        for words in choice.words(recipes[0]):
            print(f"  {words}")
        print(f"smallest budget that works: {show_bytes(choice.least)}")
    return 0


def as_json(
    network: Network, plan: Plan, budget: int | None, choice: Choice | None = None
) -> dict[str, object]:
    """The plan as JSON types; all sizes in bytes."""
    more = {} if choice is None else {"plan": choice.describe()}
    return more | {
        "network": network.text,
        "rule": word_for(network.rule),
        "precision": network.precision,
        "planned_bytes": plan.peak,
        "training_multiply_adds": network.training_work,
        "prediction_multiply_adds": network.prediction_work,
        "budget": budget,
        "categories": plan.by_category(),
        "buffers": [
            {
                "name": buffer.name,
                "category": buffer.category,
                "shape": list(buffer.spec.shape),
                "dtype": buffer.spec.dtype,
                "bytes": buffer.spec.nbytes,
                "offset": buffer.offset,
                "lifetime": buffer.need.life,
            }
            for buffer in plan.buffers
        ],
    }


def table(plan: Plan) -> str:
    """The plan for people: one line per buffer, then the sums."""
    rows = [("buffer", "shape", "bytes", "at", "lives")]
    rows += [
        (
            b.name,
            f"{b.spec.dtype} {'x'.join(map(str, b.spec.shape))}",
            f"{b.spec.nbytes:,}",
            f"{b.offset:,}",
            b.need.life,
        )
        for b in plan.buffers
    ]
    columns = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = []
    category = ""
    for i, row in enumerate(rows):
        if i and plan.buffers[i - 1].category != category:
            category = plan.buffers[i - 1].category
            lines.append(f"{category}:")
        name, shape, size, place, life = row
        lines.append(
            f"  {name:<{columns[0]}}  {shape:<{columns[1]}}  {size:>{columns[2]}}  "
            f"{place:>{columns[3]}}  {life}"
        )
    sums = ", ".join(f"{name} {short_bytes(n)}" for name, n in plan.by_category().items() if n)
    lines.append(f"at the fullest moment: {sums}")
    lines.append(f"peak: {show_bytes(plan.peak)}")
    return "\n".join(lines)
