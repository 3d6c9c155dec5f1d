"""The pooled table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.components import pool_components
from jaxmice.pooling.estimates import Stack
from jaxmice.pooling.predict import predict
from jaxmice.pooling.scalar import Rule, ScalarPool, pool_scalar

Numbers = NDArray[np.float64]

TYPES = ("tests", "all")
STYLES = ("r", "python")


def summary_frame(
    labels: Mapping[str, Sequence[object]],
    pooled: ScalarPool,
    *,
    m: int | Sequence[int],
    conf_int: bool = True,
    level: float = 0.95,
    type: str = "tests",
    exponentiate: bool = False,
    style: str = "r",
) -> pd.DataFrame:
    """Lay out pooled quantities as a table, one row per quantity.

    Parameters
    ----------
    labels
        Leading columns; the last one is the term.
    pooled
        Quantities of shape (k,).
    m
        Number of imputations, of all or of each quantity.
    conf_int, level, type, exponentiate, style
        See `PooledResults.summary`.
    """
    if not isinstance(conf_int, bool):
        raise PoolError("E65", f"conf_int must be True or False, got {conf_int!r}; name the others")
    if type not in TYPES or style not in STYLES:
        raise PoolError(
            "E65", f"type must be one of {TYPES} and style one of {STYLES}, got {type!r}, {style!r}"
        )
    change = np.exp if exponentiate else np.asarray
    out = pd.DataFrame(dict(labels))
    if type == "all":
        out["m"] = m
    out["estimate"] = change(pooled.estimate)
    out["std.error"] = pooled.std_error
    out["statistic"] = pooled.statistic()
    out["df"] = pooled.df
    out["p.value"] = pooled.p_value()
    if conf_int:
        low, high = pooled.interval(level)
        out["conf.low"], out["conf.high"] = change(low), change(high)
    if type == "all":
        out["riv"], out["lambda"], out["fmi"] = pooled.riv, pooled.lambda_, pooled.fmi
        out["ubar"], out["b"], out["t"] = pooled.ubar, pooled.b, pooled.t
        out["dfcom"] = pooled.dfcom
    if style == "python":
        out.columns = [str(name).replace(".", "_") for name in out.columns]
    return out


@dataclass(frozen=True, repr=False)
class PooledResults:
    """Results of Rubin's rules.

    Attributes
    ----------
    terms
        Names of the k coefficients.
    pooled
        Pooled quantities of shape (k,).
    stack
        Estimates in every imputation.
    within, between
        Covariances within and between imputations (k, k).
    rule
        How they were pooled, see `pool_scalar`.
    """

    terms: tuple[str, ...]
    pooled: ScalarPool
    stack: Stack
    within: Numbers
    between: Numbers
    rule: Rule = "rubin1987"

    @property
    def m(self) -> int:
        """Number of imputations."""
        return self.pooled.m

    @property
    def params(self) -> pd.Series:
        """Pooled coefficients."""
        return self._series(self.pooled.estimate)

    @property
    def bse(self) -> pd.Series:
        """Pooled standard errors."""
        return self._series(self.pooled.std_error)

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values."""
        return self._series(self.pooled.p_value())

    @property
    def fmi(self) -> pd.Series:
        """Fractions of missing information."""
        return self._series(self.pooled.fmi)

    @property
    def cov(self) -> pd.DataFrame:
        """Total covariance of the coefficients, within plus ``1 + 1/m`` times between.

        Under another rule than Rubin's, between has the weight that gives the total
        variances of the table.
        """
        if self.m == 1:
            total = self.within
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                weight = np.sqrt((self.pooled.t - self.pooled.ubar) / self.pooled.b)
            weight = np.where(self.pooled.b > 0, weight, 0.0)
            total = self.within + self.between * np.outer(weight, weight)
        return pd.DataFrame(total, index=self.terms, columns=self.terms)

    @property
    def extra(self) -> pd.DataFrame:
        """Variance components, see `pool_components`; empty when the model has none."""
        return self._extra(0.95)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return confidence limits, one row per term, columns ``conf.low, conf.high``."""
        low, high = self.pooled.interval(level)
        return pd.DataFrame({"conf.low": low, "conf.high": high}, index=self.terms)

    def summary(
        self,
        conf_int: bool = True,
        level: float = 0.95,
        type: str = "tests",
        exponentiate: bool = False,
        style: str = "r",
    ) -> pd.DataFrame:
        """Return the pooled coefficients as a table.

        Parameters
        ----------
        conf_int
            Whether to add confidence limits.
        level
            Their level.
        type
            ``"tests"``, or ``"all"`` to add the number of imputations, variances and
            information measures.
        exponentiate
            Whether to show estimates and limits as odds (rate, hazard) ratios.
        style
            ``"r"`` for column names with dots, ``"python"`` for underscores.

        Returns
        -------
        pandas.DataFrame
            ``term, estimate, std.error, statistic, df, p.value, conf.low, conf.high``;
            ``"all"`` adds ``m`` after the term and ``riv, lambda, fmi, ubar, b, t, dfcom``
            at the end. Of fits without standard errors there are ``term``, ``estimate`` and,
            with ``"all"``, ``m`` and ``b`` only.
        """
        table = summary_frame(
            {"term": self.terms},
            self.pooled,
            m=self.m,
            conf_int=conf_int,
            level=level,
            type=type,
            exponentiate=exponentiate,
            style=style,
        )
        if self.stack.has_errors:
            return table
        return table[[name for name in ("term", "m", "estimate", "b") if name in table]]

    def mcerror(self) -> pd.DataFrame:
        """Return the Monte Carlo errors of the table: how it would vary over repetitions.

        Returns
        -------
        pandas.DataFrame
            ``term, estimate, std.error, statistic, p.value, conf.low, conf.high, fmi``, each
            the standard deviation that imputing again with as many imputations would have.

        Raises
        ------
        PoolError
            E64, for fewer than 3 imputations; E45, for fits without standard errors.

        References
        ----------
        White, Royston and Wood 2011, section 7.3: a jackknife over imputations.
        """
        self.stack.need_errors()
        if self.m < 3:
            raise PoolError("E64", f"Monte Carlo errors need at least 3 imputations, got {self.m}")
        columns = ["estimate", "std.error", "statistic", "p.value", "conf.low", "conf.high", "fmi"]
        variances = np.diagonal(self.stack.cov, axis1=1, axis2=2)
        without = []
        for i in range(self.m):
            keep = np.arange(self.m) != i
            pooled = pool_scalar(
                self.stack.params[keep], variances[keep], self.pooled.dfcom, self.rule
            )
            table = summary_frame({"term": self.terms}, pooled, m=self.m - 1, type="all")
            without.append(table[columns].to_numpy())
        spread = np.std(without, axis=0) * np.sqrt(self.m - 1)
        out = pd.DataFrame(spread, columns=columns)
        out.insert(0, "term", list(self.terms))
        return out

    def predict(self, newdata: Any, interval: str = "none", level: float = 0.95) -> pd.DataFrame:
        """Predict the mean, or new outcomes, for rows of new data.

        Parameters
        ----------
        newdata
            A frame with the columns of the formula (for fits made by a function: a column
            for every term); or imputed data with the same number of imputations, of which
            prediction i uses set i.
        interval
            ``"none"``, ``"confidence"`` for the mean, or ``"prediction"`` for an outcome in
            a cluster not seen before (linear models).
        level
            Level of the interval.

        Returns
        -------
        pandas.DataFrame
            ``estimate, std.error, df`` by row of `newdata`, and limits ``conf.low,
            conf.high`` or ``pred.low, pred.high``. Random effects are at their mean, zero.
            Predictions are pooled on the scale of the linear predictor, on which the standard
            error remains; estimate and limits are on the scale of the outcome.

        Raises
        ------
        PoolError
            E65, for new data or an interval that the model does not support; E45, for fits
            without standard errors.
        """
        return predict(self, newdata, interval, level)

    def glance(self) -> pd.DataFrame:
        """Return one row: imputations, rows, imputations that converged, largest FMI."""
        nobs = self.stack.nobs
        return pd.DataFrame(
            {
                "m": [self.m],
                "nobs": [float(nobs.min()) if nobs.size else np.nan],
                "converged": [int(self.stack.converged.sum())],
                "fmi": [float(np.fmax.reduce(self.pooled.fmi, initial=np.nan))],
            }
        )

    def _extra(self, level: float) -> pd.DataFrame:
        if self.stack.components is None:
            names = ["term", "estimate", "std.error", "conf.low", "conf.high", "transform"]
            return pd.DataFrame(columns=names)
        return pool_components(self.stack.components, level)

    def _series(self, values: Numbers) -> pd.Series:
        return pd.Series(values, index=list(self.terms))

    def __repr__(self) -> str:
        head = f"Pooled results of {self.m} imputation{'s' if self.m > 1 else ''}"
        if self.stack.nobs.size and np.isfinite(self.stack.nobs).all():
            head += f", {int(self.stack.nobs.min())} rows"
        if self.stack.clusters is not None:
            head += f", {self.stack.clusters} clusters"
        table = self.summary()
        if self.stack.has_errors:
            table["fmi"] = self.pooled.fmi
        parts = [head, table.to_string(index=False, float_format=_short)]
        if self.stack.components is not None:
            parts += ["", self.extra.to_string(index=False, float_format=_short)]
        failed = int((~self.stack.converged).sum())
        if failed:
            parts.append(f"{failed} of {self.m} analyses did not converge")
        return "\n".join(parts)


def _short(value: float) -> str:
    return f"{value:.4g}"
