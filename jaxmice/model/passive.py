"""Columns that are computed from others: their rules, their order, and what is known of them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmice.engine import precision_scope
from jaxmice.errors import DataError, ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Clusters, Column, Frame, complete_one, decode
from jaxmice.model.blocks import Blocks
from jaxmice.model.choice import named_methods
from jaxmice.model.expressions import NUMBERS, Expression, Pool, parse
from jaxmice.model.groups import Groups
from jaxmice.model.names import Complaints, check_names, warn
from jaxmice.model.row import Row
from jaxmice.wording import near, rows_at, some

TOLERANCE = 1e-6
"""Relative difference at which a rule contradicts an observed value."""

MAX_CONTRADICTED = 0.01
"""Share of contradicted values above which W16 is given."""


@dataclass(frozen=True)
class Traced:
    """A function of the user's that computes row by row, and the columns it reads."""

    function: Callable[[Mapping[str, Any]], Any]
    direct: tuple[str, ...]
    pooled: tuple[str, ...] = ()

    def __call__(self, xp: Any, column: Callable[[str], Any], pool: Pool) -> Any:
        """Return the values, see `Expression`."""
        del pool
        if xp is jnp:
            return self.function(Columns(column, self.direct))
        with precision_scope("float64"):
            return np.asarray(
                self.function(Columns(lambda name: jnp.asarray(column(name)), self.direct)), float
            )


@dataclass(frozen=True)
class Rule:
    """How a passive column is computed.

    Parameters
    ----------
    target
        The column.
    text
        The rule as it is shown.
    function
        Computes it.
    """

    target: str
    text: str
    function: Expression | Traced

    @property
    def ingredients(self) -> tuple[str, ...]:
        """Columns that the rule reads."""
        return tuple(dict.fromkeys(self.function.direct + self.function.pooled))


class Columns(Mapping[str, Any]):
    """Columns by name as a function of the user's sees them; notes which it reads."""

    def __init__(self, column: Callable[[str], Any], names: Iterable[str], where: str = "") -> None:
        self._column, self._names, self._where = column, tuple(names), where
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise ModelError("E30", f"{self._where}: unknown name {name!r}; {near(name, self)}")
        self.read[name] = None
        return self._column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class HostPool:
    """Sums over clusters by row, on the host; rows that are ignored do not count.

    A cluster of ignored rows only counts them all.

    Parameters
    ----------
    groups
        The clusters.
    ignore
        (n,) ignored rows.
    shape
        Of the values, (n,) or (n, m).
    """

    def __init__(self, groups: Groups, ignore: np.ndarray, shape: tuple[int, ...]) -> None:
        self.groups, self.shape = groups, shape
        counts = groups.count(~ignore)
        self.weight = groups.member & (~ignore | (counts[groups.codes] == 0))

    def sum(self, values: Any) -> np.ndarray:
        """Return for every row the sum over its cluster; NaN for rows in none."""
        codes = self.groups.codes
        columns = np.broadcast_to(values, self.shape).reshape(self.shape[0], -1).T
        sums = [
            np.bincount(codes[self.weight], part[self.weight], minlength=self.groups.J)[codes]
            for part in columns
        ]
        out = np.stack(sums, axis=-1).reshape(self.shape)
        out[~self.groups.member] = np.nan
        return out

    def size(self) -> np.ndarray:
        """Return for every row the number of rows of its cluster."""
        return self.sum(1.0)


def split_rules(
    method: Any, passive: Mapping[str, Any] | None, blocks: Blocks
) -> tuple[dict[str, str], dict[str, Any]]:
    """Tell rules from methods.

    Returns
    -------
    methods : dict
        Names of the methods that the user gave, by block.
    rules : dict
        Text or function by column.

    Raises
    ------
    ModelError
        E30: a rule for several columns, or two rules for one.
    """
    if isinstance(method, str) and method.lstrip().startswith("~"):
        raise ModelError("E30", f"the rule {method!r} is for one column; pass a dict by column")
    named = named_methods(method, blocks)
    rules: dict[str, Any] = {}
    for block, name in list(named.items()):
        if not name.lstrip().startswith("~"):
            continue
        if len(blocks[block]) != 1:
            raise ModelError(
                "E30", f"the rule {name!r} is for one column; block {block!r} has several"
            )
        rules[blocks[block][0]] = named.pop(block).lstrip()[1:]
    if passive is None:
        return named, rules
    if not isinstance(passive, Mapping):
        raise ModelError(
            "E30", f"passive must be a dict of rules by column, got {type(passive).__name__}"
        )
    if twice := [name for name in passive if name in rules]:
        raise ModelError("E30", f"method and passive both have a rule for {some(twice)}; keep one")
    rules |= passive
    single = {members[0]: block for block, members in blocks.items() if len(members) == 1}
    for name in passive:
        if isinstance(method, Mapping) and named.get(single.get(name, ""), ""):
            raise ModelError(
                "E30",
                f"{name!r} has the method {named[single[name]]!r} and a rule; keep one of them",
            )
        named.pop(single.get(name, ""), None)
    return named, rules


def compile_rules(rules: Mapping[str, Any], frame: Frame) -> tuple[Rule, ...]:
    """Translate the rules and put them into an order in which each finds its ingredients.

    Parameters
    ----------
    rules
        Text, expression or function by column.

    Raises
    ------
    ModelError
        E28: a function that cannot be traced;
        E29: columns that depend on each other;
        E30: an unknown name, or a construct that is not allowed.
    """
    check_names(
        rules,
        frame.columns,
        "E30",
        "passive columns {} not in data (add them, filled with missing values)",
    )
    out = {}
    for target, given in rules.items():
        column, where = frame.columns[target], f"rule for {target!r}"
        logical = column.kind == "binary" and column.categories == (False, True)
        if column.level == 0 or not (logical or column.kind in NUMBERS):
            raise ModelError(
                "E30", f"{where}: a rule gives numbers or True and False; {target!r} has neither"
            )
        function: Expression | Traced
        if isinstance(given, str):
            function = parse(given, frame.columns, where, clustered=frame.clusters is not None)
            if logical and not function.logical:
                raise ModelError("E30", f"{where}: {target!r} is True or False; give a condition")
            text = f"~ {function.text}"
        elif isinstance(given, Expression):
            function, text = given, f"~ {given.text}"
        elif callable(given):
            function = trace(given, frame, where)
            text = f"~ {getattr(given, '__name__', 'function')}()"
        else:
            raise ModelError(
                "E30", f"{where}: it must be text or a function, got {type(given).__name__}"
            )
        out[target] = Rule(target, text, function)
    return _in_order(out)


def trace(
    function: Callable[..., Any], frame: Frame, where: str, *, before: bool = False
) -> Traced:
    """Return a function of the user's with the columns that it reads.

    Parameters
    ----------
    function
        Of a mapping of columns; with `before`, of values and that mapping.

    Raises
    ------
    ModelError
        E28: it cannot be traced, or does not work row by row.
    """
    names = [
        name
        for name, column in frame.columns.items()
        if column.level != 0 and (column.kind in NUMBERS or column.categories == (False, True))
    ]
    hint = "use an expression, or functions of jax.numpy that work row by row"

    def call(numbers: Any) -> Any:
        columns = Columns(lambda name: numbers, names, where)
        out = function(numbers, columns) if before else function(columns)
        seen.update(columns.read)
        return jnp.asarray(out)

    seen: dict[str, None] = {}
    numbers = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0])
    try:
        shape = jax.eval_shape(call, numbers).shape
        whole, part = (np.asarray(call(jnp.asarray(rows))) for rows in (numbers, numbers[:4]))
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code may raise
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ModelError("E28", f"{where} is not traceable ({reason}); {hint}") from error
    if shape not in ((), numbers.shape):
        raise ModelError("E28", f"{where} returns the shape {shape} for 7 rows; {hint}")
    if not np.allclose(np.broadcast_to(whole, 7)[:4], part, equal_nan=True):
        raise ModelError("E28", f"{where} lets rows depend on each other; {hint}")
    return Traced(function, tuple(seen))


def _in_order(rules: Mapping[str, Rule]) -> tuple[Rule, ...]:
    done: dict[str, Rule] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise ModelError("E29", f"passive columns depend on each other: {circle}")
        if name in done:
            return
        for other in rules[name].ingredients:
            if other in rules:
                visit(other, (*path, name))
        done[name] = rules[name]

    for name in rules:
        visit(name, ())
    return tuple(done.values())


def fill_known(
    frame: Frame,
    rules: Sequence[Rule],
    groups: Groups | None,
    ignore: np.ndarray,
    events: EventLog,
    quiet: Collection[str] = (),
) -> Frame:
    """Give passive columns their level, and the values that follow from observed ones.

    Warns W16 where a rule contradicts what was observed.

    Parameters
    ----------
    quiet
        Columns that are not the user's; events say nothing of them.

    Raises
    ------
    DataError
        E05 if a value that follows is not finite.
    """
    filled: dict[str, tuple[np.ndarray, Any]] = {}
    columns = dict(frame.columns)
    clusters = groups or _one_cluster(frame.n)
    pool = HostPool(clusters, ignore, (frame.n,))
    for rule in rules:
        column = columns[rule.target]
        if groups is not None:
            column = replace(column, level=_level(rule, columns, clusters))
        found = compute(rule, lambda name: columns[name].values, pool)
        holes = {name: columns[name].missing for name in rule.ingredients}
        known = clusters.member & ~_depends(rule, holes, pool)
        _check_contradictions(rule, column, frame, known, found)
        cells = np.flatnonzero(known & column.missing)
        if bad := cells[~np.isfinite(found[cells])].tolist():
            raise DataError("E05", _not_finite(rule, frame, bad))
        values, missing = column.values.copy(), column.missing.copy()
        values[cells], missing[cells] = found[cells], False
        columns[rule.target] = replace(column, values=values, missing=missing)
        if len(cells):
            filled[rule.target] = (cells, decode(column, found[cells], events=events))
        if len(cells) and rule.target not in quiet:
            events.add(
                "deduced",
                f"{len(cells)} missing cells of passive column {rule.target!r} follow from "
                f"observed values; {int(missing.sum())} left",
                dep=rule.target,
            )
    data = complete_one(frame.data, filled) if filled else frame.data
    return Frame(data, columns, frame.clusters)


def compute(rule: Rule, column: Callable[[str], np.ndarray], pool: HostPool) -> np.ndarray:
    """Return what a rule gives for every row, of the shape of the pool."""
    with np.errstate(all="ignore"):
        out = rule.function(np, column, pool)
    return np.array(np.broadcast_to(out, pool.shape), float)


def _one_cluster(n: int) -> Groups:
    return Groups(Clusters("", np.zeros(n, np.int64), ("",)))


def _level(rule: Rule, columns: Mapping[str, Column], groups: Groups) -> int:
    """Return 2 for a rule and values that are constant inside the clusters, otherwise 1."""
    column = columns[rule.target]
    low, high = groups.ranges(column.values, ~column.missing)
    by_cluster = all(columns[name].level == 2 for name in rule.function.direct)
    return 2 if by_cluster and not (low < high).any() else 1


def _depends(rule: Rule, masks: Mapping[str, np.ndarray], pool: HostPool) -> np.ndarray:
    """Return (n,) rows for which the rule reads a cell of the masks, given by column."""
    out = np.zeros(pool.shape, bool)
    for name, mask in masks.items():
        if name in rule.function.direct:
            out |= mask
        if name in rule.function.pooled:
            out |= pool.sum(mask.astype(float)) > 0
    return out


def dependent_cells(
    rules: Sequence[Rule], frame: Frame, ignore: np.ndarray, cells: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return cells by column, (n,) each, with those that rules compute from them."""
    pool = HostPool(
        Groups(frame.clusters) if frame.clusters else _one_cluster(frame.n), ignore, (frame.n,)
    )
    out = dict(cells)
    for rule in rules:
        own = out.get(rule.target, np.zeros(frame.n, bool))
        out[rule.target] = own | _depends(
            rule, {name: out[name] for name in rule.ingredients if name in out}, pool
        )
    return out


def _check_contradictions(
    rule: Rule, column: Column, frame: Frame, known: np.ndarray, found: np.ndarray
) -> None:
    both = np.flatnonzero(known & ~column.missing)
    seen, computed = column.values[both], found[both]
    with np.errstate(invalid="ignore"):
        agrees = np.abs(seen - computed) <= TOLERANCE * np.maximum(np.abs(seen), np.abs(computed))
    wrong = np.flatnonzero(~agrees)
    if len(wrong) <= MAX_CONTRADICTED * len(both):
        return
    index = frame.data.index
    shown = "; ".join(
        f"row {index[both[k]]!r}: observed {seen[k]:.6g}, computed {computed[k]:.6g}"
        for k in wrong[:3]
    )
    warn(
        "W16",
        f"the rule of {rule.target!r} contradicts {len(wrong)} of {len(both)} observed values "
        f"({shown}); correct the rule or the data",
    )


def _not_finite(rule: Rule, frame: Frame, rows: Sequence[int]) -> str:
    where = f"rows {rows_at(frame.data.index, rows)}"
    if frame.clusters is not None:
        labels = [frame.clusters.labels[code] for code in frame.clusters.codes[rows]]
        where += f"; clusters {some(list(dict.fromkeys(labels)))}"
    return (
        f"the rule of column {rule.target!r} gives {len(rows)} values that are not finite "
        f"({where}); correct these rows, or guard the rule by where()"
    )


def check_ingredients(
    rules: Sequence[Rule],
    frame: Frame,
    where: np.ndarray,
    groups: Groups | None,
    ignore: np.ndarray,
) -> None:
    """Refuse rules that need a cell which stays missing.

    Parameters
    ----------
    where
        (n, p) cells that are imputed or computed.

    Raises
    ------
    ModelError
        E19, all of them at once.
    """
    complaints, names = Complaints(), list(frame.columns)
    pool = HostPool(groups or _one_cluster(frame.n), ignore, (frame.n,))
    for rule in rules:
        cells = where[:, names.index(rule.target)]
        for name in rule.ingredients:
            left = {name: frame.columns[name].missing & ~where[:, names.index(name)]}
            needed = cells & _depends(rule, left, pool)
            if needed.any():
                complaints.add(
                    "E19",
                    f"{name!r} stays missing (method '', where=False or no visit) but the passive "
                    f"column {rule.target!r} needs it in {int(needed.sum())} rows; impute it",
                )
    complaints.raise_any()


def remove_circular(
    rows: Sequence[Row], rules: Sequence[Rule], names: Sequence[str], events: EventLog
) -> None:
    """Set the code of a passive column to 0 in the rows of what it is computed from.

    Codes that the user wrote are kept. Event ``circular_removed``.
    """
    sources: dict[str, set[str]] = {}
    for rule in rules:
        own = set(rule.ingredients)
        sources[rule.target] = own.union(*(sources.get(name, set()) for name in own))
    for row in rows:
        for name, found in sources.items():
            j = names.index(name)
            behind = [target for target in row.targets if target in found]
            if not behind or row.codes[j] == 0 or row.explicit[j]:
                continue
            row.codes[j] = 0
            events.add(
                "circular_removed",
                f"{name!r} is not used for {row.target!r}: it is computed from {some(behind)}",
                dep=row.target,
                meth=row.method.name,
                out=name,
            )


def recompute(
    rules: Sequence[Rule],
    frame: Frame,
    ignore: np.ndarray,
    cells: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """Compute passive cells from completed columns, without the rounding of the chains.

    Parameters
    ----------
    cells
        Rows (k,) and values (k, m) of imputed cells by column; passive ones are replaced.
    """
    completed: dict[str, np.ndarray] = {}

    def column(name: str) -> np.ndarray:
        if name not in completed:
            values = np.repeat(frame.columns[name].values[:, None], m, axis=1)
            if name in cells:
                rows, drawn = cells[name]
                values[rows] = drawn
            completed[name] = values
        return completed[name]

    groups = Groups(frame.clusters) if frame.clusters else _one_cluster(frame.n)
    for rule in rules:
        rows, drawn = cells[rule.target]
        m = drawn.shape[1]
        pool = HostPool(groups, ignore, (frame.n, m))
        cells[rule.target] = (rows, compute(rule, column, pool)[rows])
