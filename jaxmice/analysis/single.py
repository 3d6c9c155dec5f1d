"""Regressions without random part, fitted by statsmodels to one data frame after the other."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.analysis.design import numbers_again, zero_one
from jaxmice.analysis.formula import CODE, MixedFormula
from jaxmice.errors import AnalysisError
from jaxmice.pooling import Design

FAMILIES = {"glm:binomial": "Binomial", "glm:poisson": "Poisson"}


class SingleLevel:
    """A formula that is fitted to each data frame with which this is called.

    What a formula learns from data, such as means to centre by, it learns from the first
    frame, so that coefficients mean the same in all.

    Parameters
    ----------
    formula
        Without random part.
    engine
        ``"ols"``, ``"glm:binomial"`` or ``"glm:poisson"``.
    """

    def __init__(self, formula: MixedFormula, engine: str) -> None:
        try:
            import statsmodels.api  # noqa: F401
        except ImportError as error:
            raise AnalysisError(
                CODE,
                f"formula {formula.text!r} has no random part and needs statsmodels: "
                "pip install statsmodels",
            ) from error
        self.formula, self.engine = formula, engine
        self._learned: Any = None

    def __call__(self, frame: pd.DataFrame) -> Any:
        """Return the fit to one frame."""
        from formulaic import model_matrix
        from statsmodels import api

        outcome = self.formula.outcome.strip("`")
        if self.engine == "glm:binomial" and outcome in frame:
            frame = frame.assign(**{outcome: zero_one(frame[outcome])})
        text = f"{self.formula.outcome} ~ {self.formula.fixed}"
        matrices: Any = model_matrix(
            text if self._learned is None else self._learned, frame, na_action="drop"
        )
        self._learned = matrices.model_spec
        self._check(np.asarray(matrices.lhs))
        if self.engine == "ols":
            return api.OLS(matrices.lhs, matrices.rhs).fit()
        family = getattr(api.families, FAMILIES[self.engine])()
        return api.GLM(matrices.lhs, matrices.rhs, family=family).fit()

    def _check(self, y: np.ndarray) -> None:
        """Refuse an outcome that the family does not have."""
        named = f"outcome {self.formula.outcome!r}"
        if y.shape[1] != 1:
            raise AnalysisError(
                CODE, f"{named} is not one number per row; of two categories take glm:binomial"
            )
        if self.engine == "glm:binomial" and not np.isin(y, (0, 1)).all():
            raise AnalysisError("E67", f"{named} must be 0 or 1, or have two categories")
        if self.engine == "glm:poisson" and ((y < 0) | (y != np.round(y))).any():
            raise AnalysisError("E67", f"{named} must be counts, whole numbers from 0")

    @property
    def design(self) -> Design:
        """Makes the columns of the coefficients from other rows."""
        return Design(partial(numbers_again, self._learned.rhs))
