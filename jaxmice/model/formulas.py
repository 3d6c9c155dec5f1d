"""Formulas in place of rows of codes: ``"popular ~ sex * texp + mean(sex) + (1 + sex | school)"``.

Terms that are more than a column (products, functions, cluster means in products) become
columns of their own, computed anew whenever one of their ingredients was imputed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.formula import split_formula
from jaxmice.frame import Column, Frame
from jaxmice.methods import Method
from jaxmice.model.blocks import Blocks
from jaxmice.model.expressions import NUMBERS, Expression, parse
from jaxmice.model.names import check_names
from jaxmice.model.row import expansion
from jaxmice.wording import some

CODE = "E18"
"""A formula that cannot be used."""

_CALL = re.compile(r"(mean|C)\((?:`([^`]+)`|([\w.]+))\)")
"""A function of one column: its cluster mean, or its categories."""

Factors = tuple[str, ...]
"""One term: columns and functions to multiply; none for the intercept."""


@dataclass
class Written:
    """What a formula says about a block.

    Parameters
    ----------
    text
        The formula.
    mixed
        It has a random part.
    intercept
        As the option of that name.
    codes
        Codes of the columns that it names.
    slopes
        Columns with random slopes, by further cluster column.
    """

    text: str
    mixed: bool
    intercept: str | bool
    codes: dict[str, int] = field(default_factory=dict)
    slopes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def cluster_of(formulas: Mapping[str, str] | None, cluster: Any) -> Any:
    """Return the cluster columns, which formulas tell where the caller does not."""
    if cluster is not None or not isinstance(formulas, Mapping):
        return cluster
    named = [part.cluster for text in formulas.values() for part in _split(text)[2]]
    return list(dict.fromkeys(named)) or None


def blocks_of(formulas: Mapping[str, str] | None, blocks: Any, columns: Sequence[str]) -> Any:
    """Return the blocks, of which formulas with several columns on the left make some."""
    if blocks is not None or not isinstance(formulas, Mapping):
        return blocks
    made = {key: _left(text) for key, text in formulas.items() if key not in columns}
    taken = {name for members in made.values() for name in members}
    return {**{name: (name,) for name in columns if name not in taken}, **made} if made else None


def compile_formulas(
    formulas: Mapping[str, str] | None, frame: Frame, blocks: Blocks
) -> tuple[dict[str, Written], dict[str, Expression]]:
    """Read formulas.

    Parameters
    ----------
    formulas
        By block.

    Returns
    -------
    rows : dict
        What they say, by block.
    derived : dict
        Columns to be computed.

    Raises
    ------
    ModelError
        E17: a target predicts itself; E18: a formula that cannot be used; E27: an unknown
        block or column.
    """
    if formulas is None:
        return {}, {}
    if not isinstance(formulas, Mapping):
        raise ModelError(CODE, f"formulas must be a dict by target, got {type(formulas).__name__}")
    check_names(formulas, blocks, "E27", "formulas: {} not among the blocks and targets")
    derived: dict[str, Expression] = {}
    rows = {
        block: _Reader(block, blocks[block], text, frame, derived).read()
        for block, text in formulas.items()
    }
    return rows, derived


def add_columns(frame: Frame, derived: Mapping[str, Expression]) -> Frame:
    """Return the frame with a column, not computed yet, for every expression."""
    if not derived:
        return frame
    empty = pd.DataFrame(np.nan, index=frame.data.index, columns=list(derived))
    columns = dict(frame.columns)
    for name in derived:
        unknown = np.ones(frame.n, bool)
        values = np.full(frame.n, np.nan)
        columns[name] = Column(name, "continuous", np.dtype(float), values, unknown)
    return Frame(pd.concat([frame.data, empty], axis=1), columns, frame.clusters)


def given_columns(frame: Frame, names: Sequence[str]) -> Frame:
    """Return the frame with some of its columns only."""
    if len(names) == len(frame.columns):
        return frame
    columns = {name: frame.columns[name] for name in names}
    return replace(frame, data=frame.data[list(names)], columns=columns)


def lay_formulas(
    codes: pd.DataFrame,
    explicit: pd.DataFrame,
    rows: Mapping[str, Written],
    frame: Frame,
    classes: Mapping[str, type[Method]],
    replaced: Sequence[str],
    events: EventLog,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay the rows of formulas over the other codes; columns are those of the frame.

    Parameters
    ----------
    replaced
        Blocks for which the user gave codes as well. Event ``formula_overrides_row``.
    """
    codes = codes.reindex(columns=list(frame.columns), fill_value=0)
    explicit = explicit.reindex(columns=list(frame.columns), fill_value=False)
    for block, row in rows.items():
        codes.loc[block], explicit.loc[block] = 0, True
        for name, code in row.codes.items():
            codes.loc[block, name] = code
        method = classes.get(block)
        if frame.clusters and method and method.needs_cluster and not row.mixed:
            # A column that is constant in clusters has no random part to name them.
            codes.loc[block, frame.clusters.name] = -2
        if block in replaced:
            events.add(
                "formula_overrides_row",
                f"{block!r} has a formula and codes or roles; the formula counts",
                dep=block,
            )
    return codes, explicit


def with_formulas(
    options: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Written]
) -> dict[str, dict[str, Any]]:
    """Return options with the intercepts and slopes that formulas state."""
    out = {key: dict(value) for key, value in options.items()}
    for block, row in rows.items():
        own = out.setdefault(block, {})
        own["intercept"] = row.intercept
        if row.slopes:
            own["slopes"] = row.slopes
    return out


def formula_terms(part: str, text: str, known: Sequence[str]) -> list[Factors]:
    """Return the terms of a part of a formula; ``.`` stands for the known columns."""
    from formulaic import Formula

    # Stand-ins, because a name between backticks may be any text.
    names = list(dict.fromkeys([*known, *re.findall("`([^`]+)`", part)]))
    plain = re.sub("`([^`]+)`", lambda found: f"_quoted{names.index(found[1])}_", part)

    def given(factor: str) -> str:
        whole = re.fullmatch(r"_quoted(\d+)_", factor)
        if whole:
            return names[int(whole[1])]
        return re.sub(r"_quoted(\d+)_", lambda found: f"`{names[int(found[1])]}`", factor)

    available = [name if name.isidentifier() else f"_quoted{i}_" for i, name in enumerate(names)]
    context = {"__formulaic_variables_available__": available[: len(known)]}
    try:
        terms = cast(Any, Formula)(plain, _context=context)
        found = [tuple(given(str(factor.expr)) for factor in term.factors) for term in terms]
    except Exception as error:  # formulaic has many
        reason = str(error).splitlines()[0]
        raise ModelError(CODE, f"formula {text!r} cannot be read at {part!r}: {reason}") from error
    return [() if factors == ("1",) else factors for factors in found]


def call_of(factor: str) -> tuple[str, str]:
    """Return function and column of ``mean(x)`` and ``C(x)``; otherwise no function."""
    found = _CALL.fullmatch(factor)
    return (found[1], found[2] or found[3]) if found else ("", factor)


def _split(text: str) -> Any:
    return split_formula(text, lambda message: ModelError(CODE, message))


def _left(text: str) -> tuple[str, ...]:
    return tuple(name.strip().strip("`") for name in _split(text)[0].split("+"))


class _Reader:
    """Reads the formula of one block."""

    def __init__(
        self,
        block: str,
        members: Sequence[str],
        text: str,
        frame: Frame,
        derived: dict[str, Expression],
    ) -> None:
        self.members, self.text, self.frame, self.derived = members, text, frame, derived
        self.where = f"formula of {block!r}"
        self.clusters = frame.clusters.names if frame.clusters else ()
        self.level_two = all(frame.columns[name].level == 2 for name in members)

    def read(self) -> Written:
        """Return what the formula says."""
        _, fixed, random = _split(self.text)
        if set(_left(self.text)) != set(self.members):
            raise ModelError(
                CODE,
                f"{self.where}: the left side of {self.text!r} must name {some(self.members)}",
            )
        terms = self.terms(fixed)
        row = Written(self.text, bool(random), () in terms)
        for name in self.members if len(self.members) > 1 else ():
            row.codes[name] = 1
        self.fixed(terms, row)
        for part in random:
            self.random(part.effects, part.cluster, row)
        return row

    def terms(self, part: str) -> list[Factors]:
        own = {*self.members, *self.clusters}
        return formula_terms(part, self.text, [n for n in self.frame.columns if n not in own])

    def fixed(self, terms: Sequence[Factors], row: Written) -> None:
        """Note the columns with fixed effects."""
        averaged = []
        for factors in filter(None, terms):
            function, name = call_of(factors[0])
            if len(factors) > 1 or name not in self.frame.columns:
                row.codes |= dict.fromkeys(self.product(factors), 1)
            elif function == "mean" and self.frame.columns[name].level == 1:
                averaged.append(name)
            else:
                row.codes[self.plain(name, function)] = 1
        for name in averaged:
            if name in row.codes:
                row.codes[name] = 3
            elif self.level_two:
                row.codes[self.plain(name, "")] = 1
            else:
                row.codes |= dict.fromkeys(self.product((f"mean(`{name}`)",)), 1)

    def random(self, effects: str, cluster: str, row: Written) -> None:
        """Note the columns with random effects of a cluster column."""
        if cluster not in self.clusters:
            raise ModelError(
                CODE,
                f"{self.where}: {cluster!r} right of the bar is no cluster column; "
                + (f"there is {some(self.clusters)}" if self.clusters else "pass cluster="),
            )
        terms = self.terms(effects)
        slopes: list[str] = []
        for factors in filter(None, terms):
            single = len(factors) == 1 and factors[0] in self.frame.columns
            slopes += [self.plain(factors[0], "")] if single else self.product(factors)
        row.codes[cluster] = -2
        if cluster == self.clusters[0]:
            for name in slopes:
                row.codes[name] = 4 if row.codes.get(name) == 3 else 2
            if row.intercept:
                row.intercept = "random" if () in terms else "fixed"
            elif () in terms:
                row.intercept = "random"
            return
        row.slopes[cluster] = tuple(slopes)
        for name in slopes:
            row.codes.setdefault(name, 1)

    def plain(self, name: str, function: str) -> str:
        """Return a column that enters as it is."""
        column = self.frame.columns[name]
        if name in self.members:
            raise self.itself(name)
        if function == "C" and column.level != 0 and not column.categories:
            raise ModelError(
                CODE, f"{self.where}: C({name}) of numbers; make {name!r} a category first"
            )
        return name

    def product(self, factors: Factors) -> list[str]:
        """Return the columns that a term stands for: one for every combination of categories."""
        out = [("", Expression("", ("value", 1.0), False, (), ()))]
        for factor in factors:
            out = [_times(a, b) for a in out for b in self.factor(factor)]
        names = []
        for label, expression in out:
            if inside := {*expression.direct, *expression.pooled} & set(self.members):
                raise self.itself(min(inside))
            while label in self.frame.columns:
                label += "'"
            self.derived[label] = expression
            names.append(label)
        return names

    def factor(self, factor: str) -> Iterator[tuple[str, Expression]]:
        """Yield label and expression of a factor, one for every category but the first."""
        function, name = call_of(factor)
        if name not in self.frame.columns:
            yield factor, self.function(factor)
            return
        column = self.frame.columns[name]
        numeric = column.kind in NUMBERS
        for category in expansion(column):
            if numeric or column.categories == (False, True):
                label, found = name, replace(self.function(f"`{name}`"), text=name)
            elif column.level != 0 and column.categories:
                code = 1 if category is None else category
                label = f"{name}={column.categories[code]}"
                tree = ("float", ("==", ("column", name), ("value", float(code))))
                found = Expression(label, tree, False, (name,), ())
            else:
                raise ModelError(
                    CODE, f"{self.where}: {name!r} has no place in a product, it is an id or date"
                )
            if function == "mean":
                label, tree = f"mean({label})", ("mean", _number(found))
                found = Expression(label, tree, False, (), found.direct)
            yield label, found

    def function(self, text: str) -> Expression:
        try:
            return parse(text, self.frame.columns, self.where, clustered=bool(self.clusters))
        except ModelError as error:
            message = str(error).removeprefix(f"{error.code}: ")
            raise ModelError(CODE, f"{message}, in {self.text!r}") from None

    def itself(self, name: str) -> ModelError:
        return ModelError(
            "E17", f"{self.where}: {self.text!r} uses {name!r} as a predictor of itself"
        )


def _times(a: tuple[str, Expression], b: tuple[str, Expression]) -> tuple[str, Expression]:
    left, right = a[1], b[1]
    if not a[0]:
        return b[0], right
    label = f"{a[0]}:{b[0]}"
    tree = ("*", _number(left), _number(right))
    direct = tuple(sorted({*left.direct, *right.direct}))
    pooled = tuple(sorted({*left.pooled, *right.pooled}))
    return label, Expression(f"{left.text} * {right.text}", tree, False, direct, pooled)


def _number(found: Expression) -> tuple[Any, ...]:
    return ("float", found.tree) if found.logical else found.tree
