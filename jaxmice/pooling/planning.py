"""How precise pooled results are, and how many imputations they need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import PoolError
from jaxmice.pooling.results import PooledResults


@dataclass(frozen=True, repr=False)
class ImputationsNeeded:
    """How many imputations make standard errors replicable.

    Attributes
    ----------
    m
        Imputations to make in all: enough for every term, by the upper limit of its
        fraction of missing information.
    pilot
        Imputations there are.
    table
        ``term, fmi, conf.low, conf.high, m.point, m.upper``: the number needed at the
        estimated fraction and at its upper limit.
    """

    m: int
    pilot: int
    table: pd.DataFrame

    @property
    def enough(self) -> bool:
        """Whether there are as many already."""
        return self.pilot >= self.m

    def __repr__(self) -> str:
        text = self.table.to_string(index=False, float_format=lambda x: f"{x:.3f}")
        if self.enough:
            return f"{text}\nThe {self.pilot} imputations are enough ({self.m} are needed)."
        return f"{text}\n{self.m} imputations are needed, {self.m - self.pilot} more."


def how_many_imputations(
    pooled: Any,
    cv: float = 0.05,
    alpha: float = 0.05,
    terms: Sequence[str] | None = None,
    rule: str = "quadratic",
) -> ImputationsNeeded | int:
    """Say how many imputations are needed for standard errors that can be replicated.

    Parameters
    ----------
    pooled
        Pooled results of a pilot; for the linear rule imputed data or a data frame.
    cv
        Coefficient of variation of the standard errors, were the data imputed again,
        that is acceptable.
    alpha
        One minus the level of the interval of the fraction of missing information.
    terms
        Terms to look at; all by default.
    rule
        ``"quadratic"``; or ``"linear"``, the percentage of incomplete rows, a guess
        before any imputation.

    Returns
    -------
    ImputationsNeeded, or an integer by the linear rule.

    Raises
    ------
    PoolError
        E64, for arguments that cannot be used, or a pilot of a single imputation.

    References
    ----------
    P. von Hippel, 2020, How many imputations do you need? A two-stage calculation using a
    quadratic rule. Linear rule: White, Royston and Wood 2011, section 7.3.

    Examples
    --------
    >>> import numpy as np
    >>> from jaxmice.pooling import how_many_imputations, pool
    >>> estimates = np.array([[1.0], [1.4], [0.8], [1.2]])
    >>> how_many_imputations(pool((estimates, np.full((4, 1, 1), 0.1)))).enough
    False
    """
    if rule == "linear":
        data = getattr(pooled, "data", pooled)
        if not isinstance(data, pd.DataFrame):
            raise PoolError("E64", "the linear rule needs imputed data or a data frame")
        return max(1, int(np.ceil(100 * data.isna().any(axis=1).mean())))
    if rule != "quadratic" or not cv > 0 or not 0 < alpha < 1:
        raise PoolError(
            "E64",
            f"rule must be 'quadratic' or 'linear', cv above 0 and alpha between 0 and 1, got "
            f"{rule!r}, {cv!r} and {alpha!r}",
        )
    if not isinstance(pooled, PooledResults) or pooled.m < 2:
        raise PoolError("E64", "pass the pooled results of a pilot with at least 2 imputations")
    unknown = [term for term in terms or () if term not in pooled.terms]
    if unknown:
        raise PoolError("E64", f"there are no terms {', '.join(unknown)}")
    fmi = pooled.fmi[list(pooled.terms if terms is None else terms)]
    if not np.isfinite(fmi).all():
        raise PoolError("E64", "the fraction of missing information is not known for all terms")
    low, high = _fmi_interval(fmi.to_numpy(), pooled.m, alpha)

    def needed(share: Any) -> Any:
        return np.ceil(1 + 0.5 * (share / cv) ** 2).astype(int)

    table = pd.DataFrame({"term": fmi.index, "fmi": fmi.to_numpy()})
    table["conf.low"], table["conf.high"] = low, high
    table["m.point"], table["m.upper"] = needed(fmi.to_numpy()), needed(high)
    return ImputationsNeeded(int(table["m.upper"].max()), pooled.m, table)


def _fmi_interval(fmi: Any, m: int, alpha: float) -> tuple[Any, Any]:
    from scipy import special

    half = special.ndtri(1 - alpha / 2) * np.sqrt(2 / m)
    return special.expit(special.logit(fmi) - half), special.expit(special.logit(fmi) + half)
