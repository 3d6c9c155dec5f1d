"""The complete description of an imputation run."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.events import EventLog
from jaxmice.frame import Frame
from jaxmice.methods import Method
from jaxmice.model.passive import Rule
from jaxmice.model.processing import Processing
from jaxmice.model.role import Roles
from jaxmice.model.roles import roles_of


@dataclass(frozen=True)
class Term:
    """One column of a design.

    Parameters
    ----------
    column
        Column of the data; ``None`` is the intercept.
    category
        Code of the category whose dummy this is; ``None``: the column as it is.
    mean
        The cluster mean of that (codes 3 and 4).
    centered
        The deviation from the cluster mean (``group_center=True``).
    """

    column: str | None
    category: int | None = None
    mean: bool = False
    centered: bool = False

    def label(self, categories: tuple[Any, ...] = ()) -> str:
        """Return a short name, such as ``mean(sex=girl)``."""
        if self.column is None:
            return "1"
        name = self.column
        if self.category is not None:
            shown = categories[self.category] if categories else self.category
            name = f"{name}={shown}"
        if self.mean:
            return f"mean({name})"
        return f"center({name})" if self.centered else name


INTERCEPT = Term(None)


@dataclass(frozen=True)
class Visit:
    """One imputation of one target within an iteration.

    Parameters
    ----------
    block, targets
        Block that is visited and the column that is imputed, or those drawn together.
    method
        The method, with its options.
    number
        How many times the block was visited before within the iteration.
    fixed
        Columns of the fixed design that have no random effect.
    random
        Columns with a random effect; each is also a column of the fixed design.
    absorb
        One dummy per cluster, removed by taking deviations from the cluster means; there
        is no intercept then.
    factors
        Places among the further cluster columns of those that have random intercepts.
    slopes
        For each of these the columns that have a random slope there as well.
    selection_only, outcome_only
        Columns of a selection model that are in one of its regressions only.
    """

    block: str
    targets: tuple[str, ...]
    method: Method
    number: int
    fixed: tuple[Term, ...]
    random: tuple[Term, ...]
    absorb: bool = False
    factors: tuple[int, ...] = ()
    slopes: tuple[tuple[Term, ...], ...] = ()
    selection_only: frozenset[str] = frozenset()
    outcome_only: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ImputationModel:
    """Everything `mice` needs to know before it draws a random number.

    Parameters
    ----------
    original
        The data frame as given.
    frame
        The data as arrays, after deductive imputation.
    blocks
        Columns of every block.
    method
        Method of every block; ``""`` is not imputed.
    predictor_matrix
        Predictor codes, rows blocks, columns data columns.
    visit_sequence
        Blocks in the order of their visits.
    where
        (n, p) True where a cell is imputed.
    ignore
        (n,) True for rows that have no influence on the parameters.
    options
        Options of the methods as given.
    formulas
        Formulas as given, by block. Their products and functions are columns of `frame`
        that `original` does not have.
    cluster
        The cluster column; the first of several.
    levels, kinds
        Level (1 or 2; 0 for the cluster column) and kind of every column.
    standardize, group_mean, group_center
        How predictors and their cluster means are formed.
    events
        What the set-up changed on its own.
    visits
        The visits of one iteration, in order.
    rules
        Passive columns with cells to compute, each after those that it reads.
    post
        What happens to imputed cells, by column.
    arguments
        What `setup` was called with, the data apart.
    """

    original: pd.DataFrame
    frame: Frame
    blocks: dict[str, tuple[str, ...]]
    method: dict[str, str]
    predictor_matrix: pd.DataFrame
    visit_sequence: tuple[str, ...]
    where: np.ndarray
    ignore: np.ndarray
    options: dict[str, dict[str, Any]]
    formulas: dict[str, str]
    cluster: str | None
    levels: dict[str, int]
    kinds: dict[str, str]
    standardize: bool
    group_mean: str
    group_center: bool
    events: EventLog
    visits: tuple[Visit, ...]
    rules: tuple[Rule, ...] = ()
    post: dict[str, Processing] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def passive(self) -> dict[str, str]:
        """Rules of the passive columns with cells to compute."""
        return {rule.target: rule.text for rule in self.rules}

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns that are imputed or computed."""
        visited = (name for visit in self.visits for name in visit.targets)
        return tuple(dict.fromkeys([*visited, *self.passive]))

    def roles(self) -> dict[str, Roles]:
        """Return the predictor matrix as role expressions, one per imputed block.

        Passed as ``roles=`` they give the same matrix again.
        """
        return roles_of(self.predictor_matrix)

    def rows(self) -> list[tuple[str, ...]]:
        """Return what imputes every target: target, method, and the columns of each role.

        Cluster columns, columns with random effects, those with fixed effects only, and
        those whose cluster means are predictors, each as text; ``1`` is the intercept.
        """
        rows: list[tuple[str, ...]] = []
        for visit in self.visits:
            terms = visit.random + visit.fixed
            named = ", ".join(visit.targets)
            if (visit.block,) != visit.targets:
                named = f"{visit.block}/{named}"
            cluster = ""
            if visit.absorb:
                cluster = f"{self.cluster} (dummies)"
            elif type(visit.method).needs_cluster:
                cluster = self._clusters(visit)
            rows.append(
                (
                    named,
                    type(visit.method).name,
                    cluster,
                    self._columns(term for term in visit.random if not term.mean),
                    self._columns(term for term in visit.fixed if not term.mean),
                    self._columns(term for term in terms if term.mean),
                )
            )
        return rows + [(name, text, "", "", "", "") for name, text in self.passive.items()]

    def __repr__(self) -> str:
        header = ("target", "method", "cluster", "random", "fixed", "means")
        rows = [header, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        J = f", {self.frame.clusters.J} clusters" if self.frame.clusters else ""
        lines.insert(0, f"Imputation model: {self.frame.n} rows{J}, {len(self.visits)} targets")
        if len(self.events):
            lines.append(f"{len(self.events)} events; see model.events")
        return "\n".join(lines)

    def _clusters(self, visit: Visit) -> str:
        """Name the cluster columns of a visit, further ones with their random slopes."""
        further = self.frame.clusters.further if self.frame.clusters else ()
        named = [str(self.cluster)]
        for v, slopes in zip(visit.factors, visit.slopes, strict=True):
            shown = f" ({self._columns(slopes)})" if slopes else ""
            named.append(further[v].name + shown)
        return ", ".join(named)

    def _columns(self, terms: Any) -> str:
        """Name the columns behind some terms, dummies of one column once."""
        return ", ".join(dict.fromkeys("1" if t.column is None else t.column for t in terms))
