"""A PyTorch module as a black box: run without gradients, and never changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..boxes import BlackBox
from ..errors import ConfigError, MissingDependencyError

Array = np.ndarray[Any, Any]


def torch_box(
    module: Any, *, width: int | None = None, title: str | None = None, seeded: bool = False,
    normalize: bool = True,
) -> BlackBox:  # fmt: skip
    """The box of a ``torch.nn.Module`` that takes (n, inputs) and returns (n, width), on the CPU.

    The module runs as it stands: in evaluation unless it was set to ``train()`` (dropout). It works
    under ``no_grad``, and PyTorch's memory is not in the plan. width: None: as wide as the input.
    seeded: for a module that is random: PyTorch's generator gets a seed for every call, within
    which it is left as it was. title: the module's class, if not given.
    Raises ConfigError for anything but a module, MissingDependencyError without PyTorch.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "torch", "a black box in PyTorch") from None
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"torch_box: expected a torch.nn.Module, got {module!r:.60}")

    def run(rows: Array) -> Array:
        with torch.no_grad():
            made: Array = module(torch.from_numpy(rows)).cpu().numpy()
        return made

    def run_seeded(rows: Array, seed: int) -> Array:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return run(rows)

    name = type(module).__name__[:80] if title is None else title
    return BlackBox(
        run_seeded if seeded else run, name, width, stochastic=seeded, normalize=normalize
    )
