"""What is to go missing in clustered data: whole clusters, values of clusters, scattered cells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.amputation._input import MECHANISMS, check_choice, check_share
from jaxmice.amputation._scores import SHAPES
from jaxmice.errors import AmputeError
from jaxmice.wording import is_whole

Weights = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Sporadic:
    """Scattered holes: one pattern of columns that go missing together in single rows.

    The log-odds of row i in cluster j are ``h(strength * s_ij) + u_j + b``: s is the
    weighted sum of all terms below, standardised over the rows, h follows from `type` as
    in `ampute`, u is an effect of the cluster, and b is solved for the share asked for.

    Parameters
    ----------
    vars
        Columns made missing together.
    prop
        Expected share of rows with these holes among all rows of the clusters that do not
        miss the columns altogether; 0 to 1.
    prop_by_cluster
        Share for every cluster, by its label, in place of `prop`.
    mech
        ``"MCAR"``, ``"MAR"`` or ``"MNAR"``; by default MCAR without weights and MAR with.
    within
        Weights of columns centred at their cluster means, standardised.
    between
        Weights of cluster means (or values of clusters), standardised over clusters.
    weights
        Weights of standardised columns as they are.
    weights_by_cluster
        Frame of weights, clusters by columns, of standardised columns: a mechanism for
        each cluster.
    weights_sd
        Standard deviations, over clusters, of normal deviations of weights given in
        `within` or `weights`.
    icc
        Share of the latent variance of missingness that lies between clusters: u has
        variance ``icc / (1 - icc) * pi**2 / 3``.
    type
        ``"RIGHT"``, ``"LEFT"``, ``"TAIL"`` or ``"MID"``.
    strength
        Factor of the standardised score.
    freq
        Relative share of the rows that are candidates of this pattern when there are
        several; give it for all of them or for none (all equal).
    """

    vars: str | Sequence[str]
    prop: float = 0.3
    prop_by_cluster: Mapping[Any, float] | pd.Series | None = None
    mech: str | None = None
    within: Weights = field(default_factory=dict)
    between: Weights = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)
    weights_by_cluster: pd.DataFrame | None = None
    weights_sd: Weights = field(default_factory=dict)
    icc: float = 0.0
    type: str = "RIGHT"
    strength: float = 1.0
    freq: float | None = None

    def __post_init__(self) -> None:
        _check(self, [*self.row_columns, *self.cluster_columns])
        check_share(self.prop, f"{_name(self)}: prop")
        if not 0 <= self.icc < 1:
            raise _wrong(self, f"icc must be from 0 to below 1, got {self.icc!r}")
        if self.icc and self.prop_by_cluster is not None:
            raise _wrong(self, "icc must be 0 with prop_by_cluster, which fixes every cluster")
        lone = [name for name in self.weights_sd if name not in {**self.within, **self.weights}]
        if lone:
            raise _wrong(self, f"weights_sd of {lone} need weights, in within or weights")
        if self.freq is not None and not self.freq > 0:
            raise _wrong(self, f"freq must be above 0, got {self.freq!r}")

    @property
    def row_columns(self) -> list[str]:
        """Columns whose value in a row counts for that row, as it is."""
        by_cluster = self.weights_by_cluster
        return [*self.weights, *([] if by_cluster is None else map(str, by_cluster))]

    @property
    def cluster_columns(self) -> list[str]:
        """Columns whose cluster mean counts."""
        return [*self.within, *self.between]


@dataclass(frozen=True, eq=False)
class _WholeClusters:
    vars: str | Sequence[str]
    prop: float | None = None
    n_clusters: int | None = None
    clusters: Iterable[Any] | None = None
    mech: str | None = None
    between: Weights = field(default_factory=dict)
    type: str = "RIGHT"
    strength: float = 1.0

    def __post_init__(self) -> None:
        _check(self, list(self.between))
        given = [x is not None for x in (self.prop, self.n_clusters, self.clusters)]
        if sum(given) != 1:
            raise _wrong(self, "pass one of prop, n_clusters and clusters")
        if self.prop is not None:
            check_share(self.prop, f"{_name(self)}: prop")
        if self.clusters is not None and self.between:
            raise _wrong(self, "clusters leaves nothing to chance; drop the weights")
        if self.n_clusters is not None and not is_whole(self.n_clusters):
            raise _wrong(self, f"n_clusters must be an integer from 0, got {self.n_clusters!r}")

    @property
    def row_columns(self) -> list[str]:
        """Columns whose value in a row counts for that row, as it is."""
        return []

    @property
    def cluster_columns(self) -> list[str]:
        """Columns whose cluster mean counts."""
        return list(self.between)


class Systematic(_WholeClusters):
    """Columns that are missing for all rows of some clusters, as where a study never measured.

    The log-odds of cluster j are ``h(strength * c_j) + b``: c is the weighted sum of
    cluster means, standardised over clusters; h follows from `type` as in `ampute`.

    Parameters
    ----------
    vars
        Columns removed together.
    prop
        Expected share of clusters; or
    n_clusters
        their exact number; or
    clusters
        labels of the clusters, and nothing is random.
    mech
        ``"MCAR"``, ``"MAR"`` or ``"MNAR"``; by default MCAR without weights and MAR with.
    between
        Weights of cluster means (or values of clusters), standardised over clusters.
    type
        ``"RIGHT"``, ``"LEFT"``, ``"TAIL"`` or ``"MID"``.
    strength
        Factor of the standardised score.
    """


class Level2(_WholeClusters):
    """Columns that are constant in clusters, and missing for all rows of some of them.

    Parameters as for `Systematic`.
    """


Layer = Sporadic | Systematic | Level2


def columns_of(layer: Layer) -> list[str]:
    """Return the columns that a layer makes missing."""
    return [layer.vars] if isinstance(layer.vars, str) else list(layer.vars)


def mechanism(layer: Layer) -> str:
    """Return the mechanism, by default by whether there are weights."""
    weighted = bool(layer.row_columns or layer.cluster_columns)
    return layer.mech or ("MAR" if weighted else "MCAR")


def _check(layer: Layer | _WholeClusters, terms: Sequence[str]) -> None:
    """Check what all layers have."""
    if not columns_of(layer):  # type: ignore[arg-type]
        raise _wrong(layer, "vars must name at least one column")
    if layer.mech is not None:
        check_choice(layer.mech, MECHANISMS, f"{_name(layer)}: mech")
        if (layer.mech == "MCAR") == bool(terms):
            raise _wrong(layer, f"{layer.mech} with{'' if terms else 'out'} weights")
    check_choice(layer.type, tuple(SHAPES), f"{_name(layer)}: type")
    if not np.isfinite(layer.strength):
        raise _wrong(layer, f"strength must be finite, got {layer.strength!r}")


def _name(layer: Any) -> str:
    return f"{type(layer).__name__}({layer.vars!r})"


def _wrong(layer: Any, message: str) -> AmputeError:
    return AmputeError("E57", f"{_name(layer)}: {message}")
