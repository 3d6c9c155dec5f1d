"""Regressions without random part, fitted by statsmodels to one data frame after the other."""

from typing import Any

import pandas as pd

from jaxmice.analysis.design import again, zero_one
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
            from statsmodels import api
        except ImportError as error:
            raise AnalysisError(
                CODE,
                f"formula {formula.text!r} has no random part and needs statsmodels: "
                "pip install statsmodels",
            ) from error
        self.formula, self.engine, self._api = formula, engine, api
        self._learned: Any = None

    def __call__(self, frame: pd.DataFrame) -> Any:
        """Return the fit to one frame."""
        from formulaic import model_matrix

        outcome = self.formula.outcome
        if self.engine == "glm:binomial" and outcome in frame:
            frame = frame.assign(**{outcome: zero_one(frame[outcome])})
        matrices: Any = model_matrix(
            self.formula.text if self._learned is None else self._learned,
            frame,
            na_action="drop",
        )
        self._learned = matrices.model_spec
        if self.engine == "ols":
            return self._api.OLS(matrices.lhs, matrices.rhs).fit()
        family = getattr(self._api.families, FAMILIES[self.engine])()
        return self._api.GLM(matrices.lhs, matrices.rhs, family=family).fit()

    @property
    def design(self) -> Design:
        """Makes the columns of the coefficients from other rows."""
        return Design(lambda frame: again(self._learned.rhs, frame).to_numpy())
