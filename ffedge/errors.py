"""The exceptions ffedge raises, and the exit code of each on the command line.

Every message follows one form: *where: expected ..., got ...; what to do.*
"""

from __future__ import annotations


class FFEdgeError(Exception):
    """Base of every error that ffedge raises on purpose."""

    exit_code = 1


class ConfigError(FFEdgeError, ValueError):
    """A description that cannot work: a width of zero, an unknown option."""

    exit_code = 2


class MissingDependencyError(FFEdgeError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""

    exit_code = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f'run: pip install "ffedge[{extra}]"'
        )


class BudgetError(FFEdgeError):
    """The plan does not fit the budget. All three attributes are bytes."""

    exit_code = 3

    def __init__(self, message: str, *, required: int, budget: int) -> None:
        super().__init__(message)
        self.required = required
        self.budget = budget
        self.missing = required - budget


class DataError(FFEdgeError, ValueError):
    """Data that cannot be used: a wrong shape, NaN, an unknown label, a broken file."""

    exit_code = 4


class CheckpointError(FFEdgeError):
    """A model file or checkpoint that is damaged, incomplete or of an unknown format."""

    exit_code = 5


class SignatureError(CheckpointError):
    """A signature that is missing or false, or of a version older than one accepted before."""


class ExportError(FFEdgeError):
    """The target cannot express the model, or its output differs from the device's."""

    exit_code = 6


class DeviceError(FFEdgeError):
    """The device refused; ``status`` is its own code."""

    exit_code = 7

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
