"""Imputation models that support an analysis model, target by target, with reasons."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.frame import Column, Frame
from jaxmice.methods import REGISTRY
from jaxmice.model.analysis_model import Analysis, Term, quote
from jaxmice.model.constants import find_constants
from jaxmice.model.defaults import Choice, two_level_defaults
from jaxmice.model.expressions import NUMBERS, parse
from jaxmice.model.formulas import call_of
from jaxmice.model.groups import Groups
from jaxmice.model.names import check_names, warn
from jaxmice.model.predictor_matrix import find_ids
from jaxmice.model.quickpred import relevance
from jaxmice.model.restriction import describe_restriction
from jaxmice.model.row import expansion
from jaxmice.wording import some

DUMMIES = ("pmm", "norm")
"""Methods that take one dummy per cluster."""


@dataclass
class _Row:
    """The imputation model of one target under construction."""

    fixed: dict[str, str] = field(default_factory=dict)
    """Term to reason."""
    random: dict[str, str] = field(default_factory=dict)
    size: dict[str, int] = field(default_factory=dict)
    """Design columns of every fixed term."""
    between: set[str] = field(default_factory=set)
    """Terms that are constant in clusters."""
    aids: list[str] = field(default_factory=list)
    """Terms outside of the analysis model, the most useful first."""

    def add(self, term: str, reason: str, size: int = 1, *, between: bool = False) -> None:
        """Add a fixed term, unless it is there."""
        if term not in self.fixed:
            self.fixed[term], self.size[term] = reason, size
            if between:
                self.between.add(term)

    def drop(self, term: str) -> None:
        """Take a fixed term out."""
        self.fixed.pop(term)
        self.between.discard(term)

    def width(self, terms: Any) -> int:
        """Return how many design columns some terms have."""
        return sum(self.size[term] for term in terms if term in self.fixed)


class Helper:
    """Writes the imputation model of every target."""

    def __init__(self, frame: Frame, groups: Groups, analysis: Analysis) -> None:
        self.frame, self.groups, self.analysis = frame, groups, analysis
        assert frame.clusters is not None
        self.clusters = frame.clusters
        self.relations: dict[str, str] = {}
        self.targets: list[str] = []
        self.methods: dict[str, str] = {}
        self.formulas: dict[str, str] = {}
        self.roles: dict[str, dict[str, str]] = {}
        self.why: dict[str, str] = {}
        self.notes: list[tuple[str, str, str]] = []
        self.advice: list[str] = []
        self.left_out: dict[tuple[str, str], list[str]] = {}
        """What gives room, terms without it, and the targets that would have them."""
        self.mnar: dict[str, list[str]] = {}
        self.sources: dict[str, set[str]] = {}
        """What computed columns are computed from."""
        self.aids: list[str] = []
        """Columns outside of the analysis model that help."""
        self.useful = pd.DataFrame()
        """Targets by columns: how much one helps, missing for too little."""

    def choose(self, auxiliary: Any, mincor: float, family: str, mnar: Mapping[str, Any]) -> None:
        """Choose columns that help, targets and methods."""
        columns, wanted = self.frame.columns, self.analysis.columns
        ids = find_ids(self.frame, self.groups, True)
        constant = find_constants(self.frame, np.zeros(self.frame.n, bool))
        empty = [n for n, row in constant.items() if row is None and n in wanted]
        if empty:
            raise ModelError("E15", f"columns {some(empty)} have no observed values")
        free = [
            n
            for n, c in columns.items()
            if n not in (*wanted, *ids, *constant) and c.level and c.kind not in ("id", "time")
        ]
        if auxiliary != "auto":
            asked = _listed(auxiliary)
            check_names(asked, columns, "E27", "auxiliary: {} not in data")
            free = [name for name in asked if name not in wanted]
        self._check_mnar(mnar)
        self.mnar = {name: _listed(roles.get("selection", ())) for name, roles in mnar.items()}
        for name, chosen in self.mnar.items():
            check_names(chosen, columns, "E27", f"mnar[{name!r}]: {{}} not in data")
            if name in chosen:
                message = f"mnar: {name!r} cannot predict whether it is observed"
                raise ModelError("E17", f"{message}; name other columns")
        self.sources = {n: self._ingredients(rule) for n, rule in self.relations.items()}
        incomplete = [n for n, c in columns.items() if c.missing.any() and c.level]
        within, between = relevance(self.frame, self.groups, incomplete)
        noise = 2 / np.sqrt(self.groups.J)
        useful = within.where(within > between, between.where(between > noise, within))
        least = mincor if auxiliary == "auto" else -1.0
        self.useful = useful.where(useful > least)
        needed = [n for n in wanted if n in incomplete]
        for name, chosen in self.mnar.items():
            if name in needed:
                needed += [n for n in chosen if n in incomplete and n not in needed]
        for name in needed:
            behind = self.sources.get(name, ())
            needed += [n for n in behind if n in incomplete and n not in needed]
        self.aids = [n for n in free if self.useful.loc[needed, n].notna().any()]
        reached = [*needed, *(n for n in self.aids if n in incomplete)]
        for name in reached:
            behind = self.sources.get(name, ())
            reached += [n for n in behind if n in incomplete and n not in reached]
        self.relations = {n: rule for n, rule in self.relations.items() if n in reached}
        self.targets = [n for n in columns if n in reached and n not in self.relations]
        self._methods(family, ids)

    def _check_mnar(self, mnar: Mapping[str, Any]) -> None:
        example = "such as {'y': {'selection': ['z']}}"
        if not isinstance(mnar, Mapping):
            raise ModelError("E27", f"mnar must be a mapping, {example}, got {mnar!r}")
        check_names(mnar, self.frame.columns, "E27", "mnar: {} not in data")
        for name, roles in mnar.items():
            if not isinstance(roles, Mapping):
                message = f"mnar[{name!r}] must be a mapping, {example}, got {roles!r}"
                raise ModelError("E27", message)
            check_names(roles, ["selection"], "E27", f"mnar[{name!r}]: {{}} unknown")
            if not self.frame.columns[name].missing.any():
                raise ModelError("E27", f"mnar: {name!r} has no missing values; leave it out")

    def _ingredients(self, rule: str) -> set[str]:
        return set(parse(rule, self.frame.columns, "rule", clustered=True).direct)

    def _methods(self, family: str, ids: Mapping[str, str]) -> None:
        columns = self.frame.columns
        predictors = [n for n in columns if n not in ids and n not in self.relations]
        nothing = np.zeros(self.frame.n, bool)
        chosen = two_level_defaults(
            self.frame, self.groups, self.targets, nothing, predictors, family=family
        )
        for name in self.targets:
            choice = chosen[name]
            if name in self.mnar:
                choice = Choice("2l.heckman", "", "its value has to do with being missing")
            elif self.analysis.dummies and columns[name].level == 1:
                choice = self._by_dummies(columns[name], choice)
            self.methods[name], self.why[name] = choice.method, choice.reason

    def _by_dummies(self, column: Column, choice: Choice) -> Choice:
        """Return a method with cluster dummies, where these can be estimated."""
        if column.kind not in NUMBERS:
            reason = "there is no method with cluster dummies for its kind"
        elif (self.groups.count(~column.missing) == 0).any():
            reason = "it is missing in whole clusters, so that their dummies are unknown"
        else:
            return Choice("pmm", "", "the analysis has cluster dummies")
        return Choice(choice.method, "", f"{reason}; {choice.reason}")

    def write(self, target: str, max_terms: int | None) -> None:
        """Write the imputation model of a target, with the reasons."""
        row = self._row(target)
        self._fit_size(target, row, max_terms)
        if target in self.mnar:
            self._selection(target, row)
            return
        clusters = [f"(1 | {quote(name)})" for name in self.clusters.names[1:]]
        terms = list(row.fixed)
        if self.methods[target] in DUMMIES:
            terms.append(quote(self.clusters.name))
        elif self.frame.columns[target].level == 1:
            inside = " + ".join(["1", *row.random])
            terms.append(f"({inside} | {quote(self.clusters.name)})")
            several = getattr(REGISTRY.get(self.methods[target]), "several_clusters", False)
            terms += clusters if several else []
        self.formulas[target] = f"{quote(target)} ~ {' + '.join(terms) or '1'}"
        self.notes += [(target, term, reason) for term, reason in row.fixed.items()]
        self.notes += [(target, f"slope of {t}", reason) for t, reason in row.random.items()]

    def _row(self, target: str) -> _Row:
        columns, analysis, row = self.frame.columns, self.analysis, _Row()
        method = REGISTRY.get(self.methods[target])
        codes = method.codes if method else frozenset({1, 2, 3, 4})
        barred = {target} | {n for n, found in self.sources.items() if target in found}
        lower = columns[target].level == 1
        model = [n for n in analysis.columns if n not in barred]
        for name in analysis.columns:
            if name in barred and target in self.sources.get(name, ()):
                model += [n for n in self.sources[name] if n not in {*barred, *model}]
        flat = self.methods[target] in DUMMIES
        for name in model:
            reason = "in the analysis model" if name != analysis.outcome else "the outcome"
            self._main(row, name, reason, mean=lower and 3 in codes and not flat)
        if lower and not flat:
            self._slopes(row, target, barred)
        for term in analysis.terms:
            if not term.main(self.frame):
                self._product(row, target, term, barred, mean=lower)
        helping = cast(pd.Series, self.useful.reindex(columns=self.aids).loc[target]).dropna()
        for name in map(str, helping.sort_values(ascending=False, kind="stable").index):
            if name not in barred and self._varies(name, target):
                reason = "helps: correlated with it or its missingness"
                self._main(row, name, reason, mean=False)
                row.aids.append(quote(name))
        if 1 not in codes or flat:
            # Neither fits inside clusters nor cluster dummies leave room for these.
            for text in [*row.between]:
                row.drop(text)
        if 1 not in codes:
            row.random = row.fixed | row.random
        return row

    def _varies(self, name: str, target: str) -> bool:
        """Say whether a column varies where the target is observed."""
        column = self.frame.columns[name]
        seen = column.values[~column.missing & ~self.frame.columns[target].missing]
        return len(np.unique(seen)) > 1

    def _main(self, row: _Row, name: str, reason: str, *, mean: bool) -> None:
        column, term = self.frame.columns[name], quote(name)
        size = len(expansion(column))
        row.add(term, reason, size, between=column.level == 2)
        if mean and column.level == 1:
            why = "differences between clusters may follow another slope"
            row.add(f"mean({term})", why, size, between=True)

    def _slopes(self, row: _Row, target: str, barred: set[str]) -> None:
        """Add random slopes of the analysis, seen from the outcome or from the covariate."""
        analysis = self.analysis
        for term in analysis.slopes:
            if target in {analysis.outcome, *self.sources.get(analysis.outcome, ())}:
                if not term.columns & barred:
                    row.random[term.text] = "it has a random slope in the analysis model"
            elif term.columns == {target} and analysis.outcome not in barred:
                reason = "the analysis model has a random slope between the two"
                row.random[quote(analysis.outcome)] = reason

    def _product(self, row: _Row, target: str, term: Term, barred: set[str], *, mean: bool) -> None:
        """Add an interaction, or what stands for it when one of its columns is imputed."""
        columns, outcome = self.frame.columns, self.analysis.outcome
        if not term.columns & barred:
            level_two = all(columns[name].level == 2 for name in term.columns)
            row.add(term.text, "in the analysis model", self._size(term.columns), between=level_two)
            return
        plain = all(call_of(factor)[1].strip("`") in columns for factor in term.factors)
        others = sorted(term.columns - {target})
        if target not in term.columns or not plain or not others or set(others) & barred:
            return
        if outcome in barred:
            return
        reason = "stands for the interaction of the analysis model"
        product = [quote(name) for name in others]
        size = self._size({*others, outcome})
        row.add(":".join([*product, quote(outcome)]), reason, size)
        level_two = all(columns[name].level == 2 for name in others)
        if mean and level_two and columns[outcome].level == 1:
            row.add(":".join([*product, f"mean({quote(outcome)})"]), reason, size, between=True)

    def _size(self, names: Any) -> int:
        return int(np.prod([len(expansion(self.frame.columns[name])) for name in names]))

    def _fit_size(self, target: str, row: _Row, max_terms: int | None) -> None:
        """Take out what clusters, or the caller, have no room for."""
        J, lower = self.groups.J, self.frame.columns[target].level == 1

        def second() -> int:
            return row.width(row.between if lower else [*row.fixed])

        aids = [*row.aids]
        left_out = []
        while aids and (
            (max_terms is not None and row.width(row.fixed) > max_terms)
            or (3 * second() > J and (not lower or aids[-1] in row.between))
        ):
            left_out.append(aids.pop())
            row.drop(left_out[-1])
        means = [term for term in row.between if term.startswith("mean(")]
        if 3 * second() > J and means:
            left_out += sorted(means)
            for term in means:
                row.drop(term)
        if left_out:
            room = f"{J} clusters" if max_terms is None else f"{max_terms} terms"
            self.left_out.setdefault((room, ", ".join(left_out)), []).append(target)
        if second() > max(J - 2, 0) or (max_terms is not None and row.width(row.fixed) > max_terms):
            warn(
                "W30",
                f"{target!r}: {J} clusters do not support all terms of the analysis model, "
                f"{', '.join(row.fixed)}; simplify the analysis, or check the imputations of it",
            )

    def _selection(self, target: str, row: _Row) -> None:
        """Write the roles of a selection model."""
        chosen = self.mnar[target]
        roles = dict.fromkeys(self.frame.columns, "none") | {self.clusters.name: "cluster"}
        plain = {quote(name): name for name in self.frame.columns}
        for term, reason in row.fixed.items():
            if term in plain and plain[term] not in chosen:
                roles[plain[term]] = "fixed"
                self.notes.append((target, term, reason))
        roles.pop(target)
        roles |= dict.fromkeys(chosen, "selection")
        used = [name for name, role in roles.items() if role in ("fixed", "selection")]
        for name in chosen:
            others = [other for other in used if other != name]
            self.notes.append((target, quote(name), "predicts being observed, not the value"))
            self.advice += describe_restriction(self.frame, self.groups, target, name, others)
        self.roles[target] = roles

    def advise(self, before: Frame) -> None:
        """Say what to know about these data and this analysis."""
        columns, analysis, say = self.frame.columns, self.analysis, self.advice.append
        for name, column in before.columns.items():
            if known := int((column.missing & ~columns[name].missing).sum()):
                say(f"{name}: {known} cells follow from other rows of their cluster")
        for (room, terms), targets in self.left_out.items():
            say(f"left out for want of room, with {room}, to impute {', '.join(targets)}: {terms}")
        whole: dict[str, list[str]] = {}
        for name in self.targets:
            lacking = self.groups.count(~columns[name].missing) == 0
            if columns[name].level == 1 and lacking.any():
                labels = [self.clusters.labels[k] for k in np.flatnonzero(lacking)]
                where = f"{len(labels)} of {len(lacking)} clusters ({some(labels)})"
                whole.setdefault(where, []).append(name)
        for where, names in whole.items():
            say(
                f"missing altogether in {where}: {', '.join(names)}; what is imputed there comes "
                "from the others"
            )
        for name, rule in self.relations.items():
            say(f"{name} is {rule} in all complete rows, and is computed so")
        if left := [
            n
            for n, c in columns.items()
            if c.missing.any() and c.level and n not in (*self.targets, *self.relations)
        ]:
            say(f"not imputed, as the analysis does not need it: {', '.join(left)}")
        covariates = [name for name in self.targets if name != analysis.outcome]
        if self.targets == [analysis.outcome] and analysis.outcome not in self.mnar:
            say(
                "only the outcome is incomplete: a mixed model of the complete rows uses the same "
                "information, unless further columns help to impute"
            )
        unlike = [t for t in (*analysis.terms, *analysis.slopes) if not t.main(self.frame)]
        unlike += [t for t in analysis.slopes if t.main(self.frame)]
        if odd := sorted({n for t in unlike for n in t.columns if n in covariates}):
            say(
                f"{', '.join(odd)}: incomplete, with a random slope, a function or an interaction "
                "in the analysis. No chained equations are exactly compatible with that; expect a "
                "small bias"
            )
        if not self.targets and not self.relations:
            say("nothing is missing that the analysis needs")


def _listed(names: str | Iterable[str]) -> list[str]:
    """Return one name or several as a list."""
    return [names] if isinstance(names, str) else list(names)
