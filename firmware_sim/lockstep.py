"""The host's training run, with a device that is made to do the same updates.

The host decides everything that is not arithmetic: the order of the samples and the learning
rates. It works in groups of up to 16 samples; after each, the device gets the same samples, one at
a time, as long as its steps last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ffedge.errors import ConfigError
from ffedge.firmware.table import make_rates
from ffedge.kernels.batch import choose_rows
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.sources import Dataset
from ffedge.trainer import Trainer

from .device import Device
from .model_device import ModelDevice

Array = np.ndarray[Any, Any]


class LockstepTrainer(Trainer):
    """A Trainer at batch size 1 that a device follows for its first ``device_steps`` updates.

    device: set it before training starts; None for the host alone. device_steps: rounded up to
    whole groups. identical: whether every byte of every parameter agreed after them; different:
    the first parameter that did not. watch: called with the steps done after each group.
    """

    def __init__(
        self, network: Network, recipe: Recipe, *, device_steps: int,
        watch: Callable[[int], None] = lambda done: None,
    ) -> None:  # fmt: skip
        if network.precision != "int8" or recipe.batch_size != 1 or recipe.schedule != "sweep":
            raise ConfigError(
                "simulation: expected int8, batch size 1 and the schedule sweep, got "
                f"{network.precision}, {recipe.batch_size} and {recipe.schedule}"
            )
        if recipe.shift:
            raise ConfigError(
                "simulation: expected shift 0, for the device gets its samples as they are, got "
                f"{recipe.shift!r}"
            )
        super().__init__(network, recipe)
        self.device: Device | ModelDevice | None = None
        self.device_steps, self.steps_done = device_steps, 0
        self.identical, self.different = True, ""
        self._rates: Array | None = None
        self._watch = watch

    def _step(self, data: Dataset, first: int, count: int, order: int | None, moved: bool) -> None:
        super()._step(data, first, count, order, moved)
        if self.device is None or self.steps_done >= self.device_steps:
            return
        rate = self.recipe.optimizer.rate * self.run.factor / self.recipe.batch_size
        rates = make_rates(self.network, rate)
        if self._rates is None or not np.array_equal(rates, self._rates):
            self.device.set_rates(rates)
            self._rates = rates
        # The run's own list is scratch by now, where rows were read from a file.
        numbers = np.empty(count, np.int64)
        choose_rows(first, count, data.n_samples, order or 0, order is not None, numbers)
        rows = numbers if data.rows is None else data.rows[numbers]
        for row, label in zip(rows.tolist(), self.run.labels[:count].tolist(), strict=True):
            self.device.train(data.features[row], label)
            self.steps_done += 1
        self._watch(self.steps_done)
        if self.steps_done >= self.device_steps:
            self._compare()

    def finish(self) -> None:
        """After training: compare, unless the device's steps ended earlier."""
        if self.device is not None and self.steps_done < self.device_steps:
            self._compare()

    def _compare(self) -> None:
        """All parameters of host and device, byte for byte."""
        assert self.device is not None
        for name, array in self.device.weights().items():
            if array.tobytes() != self.params[name].tobytes():
                self.identical, self.different = False, name
                return
