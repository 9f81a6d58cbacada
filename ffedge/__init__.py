"""Train neural networks on small computers with Forward-Forward, inside a byte budget.

Names are loaded when they are first used, so that `import ffedge` costs next to nothing and
needs neither onnx nor torch nor scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .buffers import plan_prediction, plan_training
    from .errors import (
        BudgetError,
        CheckpointError,
        ConfigError,
        DataError,
        ExportError,
        FFEdgeError,
        MissingDependencyError,
    )
    from .estimator import FFClassifier
    from .export import export_onnx
    from .model import Model
    from .model_file import load_model, save_model
    from .network import Network
    from .predict import Predictor
    from .recipe import Recipe
    from .regressor import FFRegressor
    from .sources import load
    from .trainer import Trainer

__version__ = "0.1.0"

_HOMES = {
    "BudgetError": "errors",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "ExportError": "errors",
    "FFClassifier": "estimator",
    "FFEdgeError": "errors",
    "FFRegressor": "regressor",
    "MissingDependencyError": "errors",
    "Model": "model",
    "Network": "network",
    "Predictor": "predict",
    "Recipe": "recipe",
    "Trainer": "trainer",
    "export_onnx": "export",
    "load": "sources",
    "load_model": "model_file",
    "plan_prediction": "buffers",
    "plan_training": "buffers",
    "save_model": "model_file",
}

__all__ = [
    "BudgetError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ExportError",
    "FFClassifier",
    "FFEdgeError",
    "FFRegressor",
    "MissingDependencyError",
    "Model",
    "Network",
    "Predictor",
    "Recipe",
    "Trainer",
    "export_onnx",
    "load",
    "load_model",
    "plan_prediction",
    "plan_training",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ffedge' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
