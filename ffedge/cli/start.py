"""A training that begins with a model: ``ffedge train --from MODEL``."""

from __future__ import annotations

import argparse
import hashlib

from ..errors import ConfigError, DataError
from ..model import Model
from ..rules import ALL_RULES
from ..sources import Dataset
from .model_argument import add_signature, open_model, refuse_versions_alone
from .unlabelled import under_a_head


def add_start(parser: argparse.ArgumentParser) -> None:
    """The model to begin with, and the signature that it may have to have."""
    parser.add_argument(
        "--from", dest="start", metavar="MODEL",
        help="begin with the weights and the scaling of this model, which also says network, rule "
             "and precision (default: random weights)",
    )  # fmt: skip
    add_signature(parser)


def open_start(options: argparse.Namespace, data: Dataset) -> Model | None:
    """The model to begin with; its rule and precision become those of the options.

    Raises DataError unless it was made for the features and classes of ``data``, ConfigError for
    options that it contradicts, CheckpointError as ``load_model``.
    """
    if options.start is None:
        refuse_versions_alone(options)
        if options.require_signature is not None:
            raise ConfigError(
                "train: expected --from MODEL with --require-signature, got no model to verify"
            )
        return None
    if options.hidden is not None:
        raise ConfigError(
            "train: expected the widths of the model that is begun with, got --hidden as well; "
            "leave one of --from and --hidden out"
        )
    model = open_model(options, options.start)
    data.check_numeric(model.network.rule.numeric, options.start)
    if model.network.rule.unlabelled:
        model = under_a_head(options, model, data)
    if model.network.features != data.width or list(model.classes) != list(data.classes):
        raise DataError(
            f"{options.start}: expected a model of {data.width} features and the classes of "
            f"{data.name}, got {model.network.features} features and classes "
            f"{str(list(model.classes))[:80]}"
        )
    options.precision = model.precision
    named = (name for name, rule in ALL_RULES.items() if rule == model.network.rule)
    options.rule = next(named, options.rule)
    return model


def identity_of(model: Model | None) -> str:
    """Hex digits that tell the models apart that a training may begin with; empty for none."""
    if model is None:
        return ""
    found = hashlib.sha256()
    for array in model.params.values():
        found.update(array.data.cast("B"))
    return found.hexdigest()
