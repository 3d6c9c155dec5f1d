"""From the analysis model to an imputation model that supports it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jaxmice.events import EventLog
from jaxmice.frame import deduce_level2, encode
from jaxmice.model.analysis_model import quote, read_analysis
from jaxmice.model.groups import Groups
from jaxmice.model.model import ImputationModel
from jaxmice.model.relations import find_relations
from jaxmice.model.setup import setup
from jaxmice.model.suggest_rows import Helper


@dataclass(frozen=True, repr=False)
class Suggestion:
    """An imputation model made from an analysis model, with the reasons.

    Attributes
    ----------
    formula
        The analysis model.
    model
        The imputation model, for ``mice(model=...)``.
    notes
        Why each term is there: a table of ``target``, ``term`` and ``reason``.
    why
        Why each target has its method.
    advice
        What to know about this model and these data.
    """

    formula: str
    model: ImputationModel
    notes: pd.DataFrame
    why: dict[str, str]
    advice: tuple[str, ...]

    @property
    def method(self) -> dict[str, str]:
        """Method of every column."""
        return self.model.method

    @property
    def predictor_matrix(self) -> pd.DataFrame:
        """Predictor codes, rows targets, columns columns and what formulas compute."""
        return self.model.predictor_matrix

    @property
    def formulas(self) -> dict[str, str]:
        """Imputation model of every target."""
        return self.model.formulas

    @property
    def passive(self) -> dict[str, str]:
        """Rules of computed columns."""
        return dict(self.model.arguments["passive"] or {})

    @property
    def visit_sequence(self) -> tuple[str, ...]:
        """Targets in the order of their visits."""
        return self.model.visit_sequence

    def code(self) -> str:
        """Return a call of `mice` that does the same without help."""
        given = {
            name: self.model.arguments[name]
            for name in ("cluster", "method", "formulas", "roles", "passive", "levels")
            if self.model.arguments[name]
        }
        lines = []
        for name, value in given.items():
            shown = repr(value)
            if isinstance(value, Mapping):
                entries = "".join(f"        {key!r}: {entry!r},\n" for key, entry in value.items())
                shown = f"{{\n{entries}    }}"
            lines.append(f"    {name}={shown},")
        return "\n".join(["imp = jm.mice(", "    data,", "    m=20,", *lines, ")"])

    def __repr__(self) -> str:
        frame, own = self.model.frame, self.model.original
        clusters = f" in {frame.clusters.J} clusters" if frame.clusters else ""
        lines = [
            f"To impute for {self.formula}",
            f"{frame.n} rows{clusters} of {self.model.cluster}",
        ]
        roles = self.model.roles()
        for name in self.why:
            lines += ["", *self._heading(name, own[name].isna(), self.method[name])]
            lines.append(f"  {self.formulas.get(name) or roles[name]}")
            lines += self._reasons(name)
        for name, rule in self.passive.items():
            lines += ["", *self._heading(name, own[name].isna(), f"its rule, {rule}")]
        if self.advice:
            lines += ["", "Notes", *(f"- {text}" for text in self.advice)]
        return "\n".join(lines)

    def _heading(self, name: str, missing: pd.Series, method: str) -> list[str]:
        reason = f": {self.why[name]}" if name in self.why else ""
        return [f"{name} ({missing.sum()} of {len(missing)} missing) by {method}{reason}"]

    def _reasons(self, target: str) -> list[str]:
        notes = self.notes[self.notes["target"] == target]
        groups = notes.groupby("reason", sort=False)["term"]
        return [f"    {', '.join(terms)}: {reason}" for reason, terms in groups]


def suggest(
    data: Any,
    cluster: str | Sequence[str],
    formula: str,
    *,
    auxiliary: str | Sequence[str] = "auto",
    mincor: float = 0.1,
    max_terms: int | None = None,
    mnar: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    family: str = "gibbs",
    levels: Mapping[str, int] | None = None,
) -> Suggestion:
    """Propose how to impute, given the model that will be fitted to the completed data.

    Every incomplete column of the analysis model is imputed from all the others: columns that
    vary inside clusters come with their cluster mean, random slopes and interactions are
    there from both sides, and further columns help where they are correlated with what is
    missing. Columns that others determine exactly are computed instead. Nothing is drawn.

    Parameters
    ----------
    data
        The incomplete data, n rows.
    cluster
        The cluster column, or several (see `setup`).
    formula
        The most general analysis model, in the notation of lme4: ``"popular ~ sex * texp +
        (1 + sex | school)"``. Dummies of the clusters, ``C(school)``, and no random part ask
        for an imputation with cluster dummies.
    auxiliary
        Columns outside of the analysis model that help: ``"auto"``, or their names.
    mincor
        Least correlation, with a target or its missingness, of a column that helps. Between
        clusters twice the standard error of a correlation is asked for besides.
    max_terms
        Most columns of a design; those that help least are left out first.
    mnar
        Columns whose values have to do with being missing, with what predicts their being
        observed but not their value: ``{"weight": {"selection": ["time"]}}``. They are
        imputed by the selection model ``2l.heckman``; what predicts it is imputed where it is
        incomplete.
    family
        Table of default methods, ``"gibbs"`` or ``"micemd"``.
    levels
        Levels that override what the data show.

    Returns
    -------
    Suggestion
        ``print`` shows model and reasons; ``mice(model=suggestion.model)`` runs it.

    Raises
    ------
    DataError, ModelError
        As for `setup`; E17: a column that predicts its own being observed; E18: a formula that
        cannot be used; E27: a column that is not in data.

    Warns
    -----
    JaxMiceWarning
        W30: more terms of the analysis model than the clusters support; W31: a selection
        model without a column that predicts selection only.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd ed., section 7.10.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> s = jm.suggest(d, "school", "popular ~ sex * texp + (1 + sex | school)")
    >>> s.formulas["popular"]
    'popular ~ sex + mean(sex) + texp + sex:texp + (1 + sex | school)'
    >>> imp = jm.mice(model=s.model, m=2, seed=1)
    """
    log = EventLog()
    before = encode(data, cluster=cluster, levels=levels, events=log)
    frame = deduce_level2(before, log)
    assert frame.clusters is not None
    helper = Helper(frame, Groups(frame.clusters), read_analysis(formula, frame))
    helper.relations = find_relations(list(frame.columns.values()), quote)
    helper.choose(auxiliary, mincor, family, mnar or {})
    for target in helper.targets:
        helper.write(target, max_terms)
    helper.advise(before)
    idle = {name: "" for name, c in frame.columns.items() if c.missing.any() and c.level}
    for name in helper.relations:
        idle.pop(name)
    model = setup(
        data,
        idle | helper.methods,
        cluster=cluster,
        formulas=helper.formulas,
        roles=helper.roles or None,
        passive=helper.relations or None,
        levels=levels,
        family=family,
    )
    notes = pd.DataFrame(helper.notes, columns=["target", "term", "reason"])
    return Suggestion(formula, model, notes, helper.why, tuple(helper.advice))
