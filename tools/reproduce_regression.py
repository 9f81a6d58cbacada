"""Regression against scikit-learn's MLPRegressor: R2 on the test parts of real sets.

Sets, splits and features were fixed before any figure was seen; ffedge's defaults were chosen on
parts split off the training data (the last quarter of a series, a random one else). Both get
two hidden layers of 128 units. The MLP gets standardised features, and the best of three settings
for each set, judged on the test part, in its favour: its defaults; the same with standardised
targets; those with early stopping as well.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import folder

from ffedge import FFRegressor, MissingDependencyError
from ffedge.scoring import Deviation

Array = np.ndarray[Any, Any]
Parts = tuple[Array, Array, Array, Array]

HIDDEN = (128, 128)
#: Consecutive seeds of one run: of the weights, and of splits that are random.
SEEDS = 3


def _random_quarter(x: Array, y: Array, seed: int) -> Parts:
    order = np.random.RandomState(seed).permutation(len(x))
    rest, part = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    return x[rest], y[rest], x[part], y[part]


def _diabetes(data: Path, seed: int) -> Parts:
    """Disease progression of 442 patients (Efron et al. 2004); a random quarter to test."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return _random_quarter(x.astype(np.float32), y, seed)


def _gas(data: Path, seed: int) -> Parts:
    """Concentration in ppm from 128 features of a gas sensor array, batches 1 to 3."""
    with np.load(data / "gas_drift.npz", allow_pickle=False) as file:
        x = np.concatenate([file[f"x{i}"] for i in (1, 2, 3)])
        y = np.concatenate([file[f"conc{i}"] for i in (1, 2, 3)])
    return _random_quarter(x, y.astype(np.float64), seed)


def _spectrum(windows: Array) -> Array:
    """Magnitudes of the Fourier transform, mean and deviation of each axis."""
    bins = np.abs(np.fft.rfft(windows, axis=1))[:, 1:].reshape(len(windows), -1)
    parts = [bins, windows.mean(axis=1), windows.std(axis=1)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _fan(data: Path, seed: int) -> Parts:
    """Speed of a fan, in percent, from the spectrum of its vibration; the set's own split."""
    with np.load(data / "fan_vibration.npz", allow_pickle=False) as file:
        return (
            _spectrum(file["x_train"]), file["pct_train"].astype(np.float64),
            _spectrum(file["x_test"]), file["pct_test"].astype(np.float64),
        )  # fmt: skip


def _taxi(data: Path, seed: int) -> Parts:
    """The next half hour's taxi passengers from the last day's 48; the last quarter to test."""
    with np.load(data / "nab_known_cause.npz", allow_pickle=False) as file:
        series = file["v_nyc_taxi"].astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(series, 49)
    x, y, cut = windows[:, :48].copy(), windows[:, 48].astype(np.float64), len(windows) * 3 // 4
    return x[:cut], y[:cut], x[cut:], y[cut:]


def _co2(data: Path, seed: int) -> Parts:
    """CO2 in ppm from temperature, humidity, light and humidity ratio; the set's own split."""
    with np.load(data / "occupancy.npz", allow_pickle=False) as file:
        train, test = file["x_train"], file["x_test"]
    others = [0, 1, 2, 4]
    return train[:, others], train[:, 3].astype(float), test[:, others], test[:, 3].astype(float)


SETS: dict[str, Callable[[Path, int], Parts]] = {
    "diabetes": _diabetes, "gas": _gas, "fan": _fan, "taxi": _taxi, "co2": _co2,
}  # fmt: skip

#: Settings of the MLP: whether targets are standardised, and training stops early.
SETTINGS = {"defaults": (False, False), "standardised": (True, False), "early stop": (True, True)}


def _mlp(parts: Parts, seed: int, standardise: bool, early: bool) -> Array:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    x, y, x_test, _ = parts
    scaler = StandardScaler().fit(x)
    mean, unit = (y.mean(), y.std()) if standardise else (0.0, 1.0)
    model = MLPRegressor(hidden_layer_sizes=HIDDEN, early_stopping=early, random_state=seed)
    with warnings.catch_warnings():
        # 200 passes are its default; whether they were enough is its own affair.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(x), (y - mean) / unit)
    found: Array = model.predict(scaler.transform(x_test)) * unit + mean
    return found


def _errors(values: Array, targets: Array) -> dict[str, float]:
    score = Deviation()
    score.take(values, targets)
    return score.figures()


class Regression:
    """Five sets, ``SEEDS`` seeds each."""

    target = "mean R2 not below that of scikit-learn's MLPRegressor"

    def reproduce(
        self, name: str, seed: int, epochs: int | None, data_dir: str | None
    ) -> dict[str, Any]:
        """Train and test everything; returns the result as JSON types."""
        try:
            import sklearn
        except ImportError:
            raise MissingDependencyError("scikit-learn", "test", "comparing regressors") from None

        started, data = time.perf_counter(), folder(data_dir)
        sets = {}
        for which, read in SETS.items():
            ours, theirs, inside = [], {setting: [] for setting in SETTINGS}, []
            seconds = 0.0
            for number in range(seed, seed + SEEDS):
                x, y, x_test, y_test = parts = read(data, number)
                begun = time.perf_counter()
                model = FFRegressor(HIDDEN, max_iter=epochs, random_state=number).fit(x, y)
                seconds += time.perf_counter() - begun
                ours.append(_errors(model.predict(x_test), y_test))
                low, high = model.predict_interval(x_test, 0.9).T
                inside.append(float(((y_test >= low) & (y_test <= high)).mean()))
                for setting, options in SETTINGS.items():
                    theirs[setting].append(_errors(_mlp(parts, number, *options), y_test))
            sets[which] = self._summary(ours, theirs) | {
                "inside_90": float(np.mean(inside)), "seconds": seconds / SEEDS,
                "planned_bytes": model.plan_.peak, "samples": len(x), "features": x.shape[1],
            }  # fmt: skip
            print(self._line(which, sets[which]), file=sys.stderr, flush=True)
        means = {
            key: float(np.mean([found[key] for found in sets.values()])) for key in ("r2", "mlp_r2")
        }
        ratio = float(np.exp(np.mean([np.log(f["mae"] / f["mlp_mae"]) for f in sets.values()])))
        return {
            "name": name, "target": self.target, "seed": seed, "seeds": SEEDS, "sets": sets,
            "mean_r2": means["r2"], "mean_mlp_r2": means["mlp_r2"], "mae_ratio": ratio,
            "reached": means["r2"] >= means["mlp_r2"], "scikit-learn": sklearn.__version__,
            "seconds": time.perf_counter() - started,
        }  # fmt: skip

    @staticmethod
    def _summary(
        ours: list[dict[str, float]], theirs: dict[str, list[dict[str, float]]]
    ) -> dict[str, Any]:
        """Means over the seeds, and those of the MLP's best setting by R2."""

        def mean(found: list[dict[str, float]], key: str) -> float:
            return float(np.mean([one[key] for one in found]))

        best = max(theirs, key=lambda setting: mean(theirs[setting], "r2"))
        return {
            "r2": mean(ours, "r2"), "mae": mean(ours, "mae"), "rmse": mean(ours, "rmse"),
            "std": mean(ours, "std"), "r2_of_seeds": [one["r2"] for one in ours],
            "mlp_setting": best, "mlp_r2": mean(theirs[best], "r2"),
            "mlp_mae": mean(theirs[best], "mae"),
            "mlp_r2_of_settings": {key: mean(found, "r2") for key, found in theirs.items()},
        }  # fmt: skip

    @staticmethod
    def _line(which: str, found: dict[str, Any]) -> str:
        return (
            f"{which:<9} R2 {found['r2']:.4f} (MLP {found['mlp_r2']:.4f}, {found['mlp_setting']}), "
            f"MAE {found['mae']:.4g} ({found['mlp_mae']:.4g}) of a deviation of "
            f"{found['std']:.4g}; {100 * found['inside_90']:.0f} % within 90 % intervals; "
            f"{found['seconds']:.1f} s"
        )

    def words(self, result: dict[str, Any]) -> str:
        """One line for each set, and the means."""
        lines = [self._line(which, found) for which, found in result["sets"].items()]
        verdict = "reached" if result["reached"] else "missed"
        last = result["seed"] + result["seeds"] - 1
        lines.append(
            f"{result['name']}: mean R2 {result['mean_r2']:.4f}, MLP {result['mean_mlp_r2']:.4f}; "
            f"MAE {result['mae_ratio']:.2f} of the MLP's (geometric mean); target {verdict}: "
            f"{result['target']}; seeds {result['seed']} to {last}, {result['seconds']:.0f} s"
        )
        return "\n".join(lines)


RUNS = {"regression": Regression()}
