"""The same network trained by PyTorch's back-propagation, and the bytes that takes.

What ffedge's memory is compared with: hidden ReLU layers of the same widths, a linear layer of
classes on top, cross-entropy, the same scaling, batches, order of samples, optimiser and rates. The
only file that imports ``torch``, and only when it is asked to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ConfigError, MissingDependencyError
from ..kernels.batch import choose_rows, fetch_labels
from ..kernels.random import mix
from ..memory import process_peak_bytes
from ..network import Network
from ..optimizers import SGD, Momentum
from ..recipe import Recipe
from ..scaling import LIMIT, Scaler
from ..sources import Dataset
from .ledger import Ledger

#: "plain": all activations are kept. "accumulate": gradients of micro-batches are summed.
#: "checkpoint": activations are kept at about sqrt(depth) places and made again in between.
#: "in_backward": each weight is stepped as soon as its gradient is there, which is then dropped.
MODES = ("plain", "accumulate", "checkpoint", "in_backward")

#: Steps that are counted: the first makes the optimiser's state, the others look alike.
COUNTED = 3

_TINY = 1e-8
_NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Report:
    """Bytes at the worst moment of a training step, which the five kinds add up to, and the rest.

    weights: with biases and the scaler. activations: made forward, the scaled batch included.
    workspace: made backward and by the optimiser. seconds: of training, without the counted
    steps. accuracy: on the test part, 0..1; None without one. process_peak: largest resident set
    of the process so far, data set and libraries included.
    """

    peak_bytes: int
    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    workspace: int
    seconds: float
    accuracy: float | None
    process_peak: int

    def describe(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)


def torch_module() -> Any:
    """``torch``; MissingDependencyError where it is not installed."""
    try:
        import torch
        import torch.utils.checkpoint
    except ImportError:
        raise MissingDependencyError("torch", "torch", "training by back-propagation") from None
    return torch


class Backprop:
    """``network``'s widths as a PyTorch model that trains by ``recipe``.

    mode: one of ``MODES``. micro_batch: samples forward and backward at once in "accumulate",
    1 to the batch size. normalize: divide each hidden activity by its root mean square before
    the next layer, as ffedge does; without, deep networks of plain ReLU layers hardly train.
    Weights start at He's scale, biases at 0; the recipe's schedule and threads do not apply.

    Raises ConfigError for an unknown mode or a micro-batch that does not belong to it,
    MissingDependencyError without PyTorch.
    """

    def __init__(
        self, network: Network, recipe: Recipe, *, mode: str = "plain",
        micro_batch: int | None = None, normalize: bool = True,
    ) -> None:  # fmt: skip
        _check_mode(recipe, mode, micro_batch)
        if network.boxes:
            raise ConfigError(
                "backprop: expected a network without black boxes, which have no derivative, got "
                f"{network.boxes[0].box.name} in front of layer {network.boxes[0].index}"
            )
        self.torch = torch_module()
        self.network, self.recipe, self.mode, self.normalize = network, recipe, mode, normalize
        self.micro_batch = micro_batch or recipe.batch_size
        widths = [network.features, *network.hidden, network.classes]
        self._mean, self._gain = np.zeros((2, network.features), np.float32)
        self.scaler = [self.torch.from_numpy(array) for array in (self._mean, self._gain)]
        random = self.torch.Generator().manual_seed(recipe.seed)
        self.parameters: list[Any] = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            spread = math.sqrt((2.0 if i < len(network.layers) else 1.0) / inputs)
            weight = self.torch.empty(outputs, inputs).normal_(0.0, spread, generator=random)
            self.parameters += [weight, self.torch.zeros(outputs)]
        for parameter in self.parameters:
            parameter.requires_grad_()
        self._ledger: Ledger | None = None
        self._chosen = np.empty(recipe.batch_size, np.int64)
        self._labels = np.empty(recipe.batch_size, np.int32)
        if mode == "in_backward":
            self._optimizers = [self._optimizer([parameter]) for parameter in self.parameters]
            for parameter, optimizer in zip(self.parameters, self._optimizers, strict=True):
                parameter.register_post_accumulate_grad_hook(self._stepper(optimizer))
        else:
            self._optimizers = [self._optimizer(self.parameters)]

    def _optimizer(self, parameters: list[Any]) -> Any:
        """PyTorch's counterpart; decay of momentum is added to the gradient there."""
        given, kinds = self.recipe.optimizer, self.torch.optim
        if isinstance(given, SGD | Momentum):
            beta = given.beta if isinstance(given, Momentum) else 0.0
            return kinds.SGD(parameters, given.rate, momentum=beta, weight_decay=given.weight_decay)
        # Decoupled decay, as ffedge's; Adam itself where there is none. Fused is both the fastest
        # and the smallest.
        return kinds.AdamW(
            parameters, given.rate, (given.beta1, given.beta2), given.epsilon,
            given.weight_decay, fused=True,
        )  # fmt: skip

    def _stepper(self, optimizer: Any) -> Callable[[Any], None]:
        """A hook that steps one parameter and drops its gradient."""

        def step(parameter: Any) -> None:
            self._name(parameter.grad, "gradients")
            optimizer.step()
            optimizer.zero_grad()

        return step

    def learn_scaling(self, data: Dataset) -> None:
        """Learn the scaler from ``data``, as ffedge's trainer does."""
        moments = np.zeros((2, data.width))
        scaler = Scaler(self.recipe.scaling, self._mean, self._gain, moments)
        rows = _NO_ROWS if data.rows is None else data.rows
        scaler.add(data.features, rows, 0, data.n_samples)
        scaler.finish()

    def train(self, data: Dataset, *, steps: int | None = None) -> int:
        """Run the recipe, or its first ``steps`` updates; returns how many were made."""
        per_epoch = -(-data.n_samples // self.recipe.batch_size)
        total = per_epoch * self.recipe.epochs
        steps = total if steps is None else min(steps, total)
        for step in range(steps):
            epoch, turn = divmod(step, per_epoch)
            first = turn * self.recipe.batch_size
            count = min(self.recipe.batch_size, data.n_samples - first)
            order = int(mix(self.recipe.seed ^ mix(epoch + 1))) if self.recipe.shuffle else None
            self.step(data, first, count, order, self.recipe.rate_factor(step, total))
        return steps

    def step(
        self, data: Dataset, first: int, count: int, order: int | None, factor: float = 1.0
    ) -> None:
        """One update from samples first..first+count-1 of permutation ``order``."""
        choose_rows(first, count, data.n_samples, order or 0, order is not None, self._chosen)
        for optimizer in self._optimizers:
            optimizer.param_groups[0]["lr"] = self.recipe.optimizer.rate * factor
            optimizer.zero_grad()
        for start in range(0, count, self.micro_batch):
            with self._making("activations"):
                x, labels = self._fetch(data, start, min(self.micro_batch, count - start))
                scores = self._scores(x, checkpointed=self.mode == "checkpoint")
                loss = self.torch.nn.functional.cross_entropy(scores, labels, reduction="sum")
                # A smaller batch counts for less, as in ffedge.
                loss = loss / self.recipe.batch_size
                # What back-propagation needs of these it keeps itself.
                del x, labels, scores
            loss.backward()
        if self.mode != "in_backward":
            self._optimizers[0].step()
        self._name_state()

    def _fetch(self, data: Dataset, start: int, count: int) -> tuple[Any, Any]:
        """Scaled features (float32) and labels (int64) of the chosen samples from ``start`` on."""
        chosen = self._chosen[start : start + count]
        subset = _NO_ROWS if data.rows is None else data.rows
        fetch_labels(data.labels, subset, chosen, count, self._labels)
        rows = chosen if data.rows is None else data.rows[chosen]
        mean, gain = self.scaler
        x = self.torch.from_numpy(data.features[rows]).to(self.torch.float32, copy=True)
        x.sub_(mean).mul_(gain).clamp_(-LIMIT, LIMIT)
        return x, self.torch.from_numpy(self._labels[:count].astype(np.int64))

    def _scores(self, x: Any, *, checkpointed: bool = False) -> Any:
        """The class layer's outputs (n, classes) for scaled rows ``x``."""
        depth = len(self.network.layers)
        length = math.ceil(depth / math.ceil(math.sqrt(depth))) if checkpointed else depth
        for start in range(0, depth, length):
            end = min(start + length, depth)
            if end < depth:
                x = self.torch.utils.checkpoint.checkpoint(
                    self._hidden, x, start, end, use_reentrant=False, preserve_rng_state=False
                )
            else:
                # The last ones are needed at once: nothing is gained by forgetting them.
                x = self._hidden(x, start, end)
        return self.torch.nn.functional.linear(x, *self.parameters[-2:])

    def _hidden(self, x: Any, start: int, end: int) -> Any:
        """Layers start..end-1."""
        with self._making("activations"):
            for i in range(start, end):
                x = self.torch.nn.functional.linear(x, *self.parameters[2 * i : 2 * i + 2]).relu_()
                if self.normalize:
                    x = x * x.square().mean(1, keepdim=True).add_(_TINY).rsqrt_()
        return x

    def evaluate(self, data: Dataset) -> float:
        """Accuracy on ``data``, 0..1."""
        right = 0
        with self.torch.no_grad():
            for first in range(0, data.n_samples, self.recipe.batch_size):
                count = min(self.recipe.batch_size, data.n_samples - first)
                choose_rows(first, count, data.n_samples, 0, False, self._chosen)
                x, labels = self._fetch(data, 0, count)
                right += int((self._scores(x).argmax(1) == labels).sum())
        return right / data.n_samples

    @contextmanager
    def counting(self) -> Iterator[Ledger]:
        """Count every tensor alive inside the block: the model's own, and all that steps make.

        Seen is what PyTorch's operators take and give, each storage once and to its last moment;
        not seen is memory that an operator takes and gives back within one call.
        """
        self._ledger = ledger = Ledger()
        for tensor in (*self.parameters, *self.scaler):
            self._name(tensor, "weights")
        self._name_state()

        def name_gradient(parameter: Any) -> None:
            if parameter.grad is not None:
                self._name(parameter.grad, "gradients")

        hooks = [p.register_post_accumulate_grad_hook(name_gradient) for p in self.parameters]
        try:
            with _watch(self.torch, ledger):
                yield ledger
        finally:
            self._ledger = None
            for hook in hooks:
                hook.remove()

    @contextmanager
    def _making(self, kind: str) -> Iterator[None]:
        """Blocks made inside are of ``kind``."""
        if self._ledger is None:
            yield
            return
        before, self._ledger.making = self._ledger.making, kind
        try:
            yield
        finally:
            self._ledger.making = before

    def _name(self, tensor: Any, kind: str) -> None:
        if self._ledger is not None:
            storage = tensor.untyped_storage()
            self._ledger.name(storage, storage.nbytes(), kind)

    def _name_state(self) -> None:
        for optimizer in self._optimizers:
            for state in optimizer.state.values():
                for value in state.values():
                    if self.torch.is_tensor(value):
                        self._name(value, "optimizer state")


def train_backprop(
    network: Network, recipe: Recipe, data: Dataset, test: Dataset | None = None, *,
    mode: str = "plain", micro_batch: int | None = None, normalize: bool = True,
) -> Report:  # fmt: skip
    """Train by back-propagation and report the bytes, seconds and accuracy; see ``Backprop``.

    A model of its own makes ``COUNTED`` steps for the bytes: counting slows a step down.
    """
    options: dict[str, Any] = {"mode": mode, "micro_batch": micro_batch, "normalize": normalize}
    ledger = count_backprop(network, recipe, data, **options)
    model = Backprop(network, recipe, **options)
    model.learn_scaling(data)
    started = time.perf_counter()
    model.train(data)
    seconds = time.perf_counter() - started
    process_peak = process_peak_bytes()
    kinds = {kind.replace(" ", "_"): count for kind, count in ledger.at_peak.items()}
    accuracy = None if test is None else model.evaluate(test)
    return Report(
        peak_bytes=ledger.peak, seconds=seconds, accuracy=accuracy, process_peak=process_peak,
        **kinds,
    )  # fmt: skip


def count_backprop(
    network: Network, recipe: Recipe, data: Dataset, *, steps: int = COUNTED, **options: Any
) -> Ledger:
    """The bytes of the first ``steps`` updates; ``options`` as ``Backprop``'s."""
    model = Backprop(network, recipe, **options)
    model.learn_scaling(data)
    with model.counting() as ledger:
        model.train(data, steps=steps)
    return ledger


def _check_mode(recipe: Recipe, mode: str, micro_batch: int | None) -> None:
    if mode not in MODES:
        raise ConfigError(f"backprop: expected mode one of {', '.join(MODES)}, got {mode!r}")
    if (micro_batch is not None) != (mode == "accumulate"):
        raise ConfigError(
            f"backprop: expected micro_batch with mode accumulate and with no other, got mode "
            f"{mode!r} and micro_batch {micro_batch!r}"
        )
    if micro_batch is not None and not 1 <= micro_batch <= recipe.batch_size:
        raise ConfigError(
            f"backprop: expected micro_batch in 1..{recipe.batch_size:,}, the batch size, got "
            f"{micro_batch!r}"
        )


def _watch(torch: Any, ledger: Ledger) -> Any:
    """A context in which ``ledger`` meets the storages of all tensors that operators touch."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    base: Any = TorchDispatchMode

    class Watch(base):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, torch.Tensor):
                    storage = leaf.untyped_storage()
                    ledger.meet(storage, storage.nbytes())
            return result

    return Watch()
