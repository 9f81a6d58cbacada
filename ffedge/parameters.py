"""scikit-learn's estimator protocol, without its base class: parameters, repr and tags."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

from .errors import ConfigError


class Parameters:
    """An estimator whose parameters are its constructor's arguments, kept under their names."""

    #: Whether numbers are predicted, not classes.
    _numeric: ClassVar[bool] = False
    #: "classifier" or "outlier_detector", as scikit-learn calls them.
    kind: ClassVar[str] = "classifier"

    @classmethod
    def _names(cls) -> list[str]:
        return sorted(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters; ConfigError for a name that there is not."""
        known = self._names()
        for name in params:
            if name not in known:
                raise ConfigError(
                    f"{type(self).__name__}: expected one of {', '.join(known)}, got {name!r}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        signature = inspect.signature(type(self)).parameters
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name in signature
            if repr(getattr(self, name)) != repr(signature[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know of an estimator; called by scikit-learn only."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classifies = self.kind == "classifier"
        return Tags(
            estimator_type="regressor" if self._numeric else self.kind,
            target_tags=TargetTags(required=classifies),
            classifier_tags=ClassifierTags() if classifies and not self._numeric else None,
            regressor_tags=RegressorTags() if self._numeric else None,
            input_tags=InputTags(sparse=False, allow_nan=False),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether predictions are possible."""
        return hasattr(self, "_trainer")
