"""Post-processors made ready for the data: their conditions, bounds and shifts by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Column, Frame
from jaxmice.methods import Method
from jaxmice.methods._mnar import Shifted
from jaxmice.model.expressions import Expression, parse
from jaxmice.model.groups import Groups
from jaxmice.model.names import check_names
from jaxmice.model.passive import Columns, HostPool, trace
from jaxmice.model.row import Row
from jaxmice.post import Delta, Function, Move, Processor, Redraw, Round, SetWhere, Squeeze, delta
from jaxmice.wording import some

CODE = "E51"
"""A post-processor that does not fit its column."""


@dataclass(frozen=True)
class Processing:
    """What happens to the imputed cells of one column.

    Parameters
    ----------
    steps
        In their order.
    reads
        Columns that they read.
    link
        (n,) shift of the linear predictor of a category or count, or None.
    """

    steps: tuple[Processor, ...]
    reads: tuple[str, ...]
    link: np.ndarray | None = None

    def settle(self, values: np.ndarray) -> np.ndarray:
        """Make values from the chains legal to the last digit."""
        kept = [step for step in self.steps if not isinstance(step, Squeeze | Round)]
        last = self.steps.index(kept[-1]) + 1 if kept else 0
        for step in self.steps[last:]:
            values = step.settle(values)
        return values


def stated_shifts(
    post: Mapping[str, Any] | None, rows: Sequence[Row], methods: Sequence[Method]
) -> Mapping[str, Any] | None:
    """Return post-processing with the shifts that methods state in their options first."""
    shifts = {
        row.target: delta(method.delta)
        for row, method in zip(rows, methods, strict=True)
        if isinstance(method, Shifted)
    }
    if not shifts or not isinstance(post, Mapping | None):
        return post
    out = dict(post or {})
    for target, shift in shifts.items():
        further = out.get(target, [])
        out[target] = [shift, *(further if isinstance(further, list | tuple) else [further])]
    return out


def compile_post(
    post: Mapping[str, Any] | None,
    frame: Frame,
    methods: Mapping[str, Sequence[type[Method]]],
    passive: Sequence[str],
    groups: Groups | None,
    ignore: np.ndarray,
    events: EventLog,
) -> dict[str, Processing]:
    """Check post-processors and fill in what depends on the data.

    Parameters
    ----------
    post
        By column one processor, a function of values and columns, or a list of these.
    methods
        For every imputed column its methods; others have nothing to process (event
        ``post_unused``).
    passive
        Columns that are computed.

    Raises
    ------
    ModelError
        E27: an unknown column; E28: a function that cannot be traced; E30: a condition that
        cannot be read; E51: what does not fit its column.
    """
    if post is None:
        return {}
    if not isinstance(post, Mapping):
        raise ModelError(CODE, f"post must be a dict by column, got {type(post).__name__}")
    check_names(post, frame.columns, "E27", "post: {} not in data")
    out = {}
    for target, given in post.items():
        if target in passive:
            raise ModelError(CODE, f"post: {target!r} is computed; change its rule instead")
        if target not in methods:
            message = f"post: {target!r} has no imputed cells"
            events.add("post_unused", message, dep=target)
            continue
        steps = list(given) if isinstance(given, list | tuple) else [given]
        compiler = _Compiler(target, frame, groups, ignore, methods[target])
        out[target] = compiler.compile(steps)
    return out


def _on_link_scale(method: type[Method], column: Column) -> bool:
    """Say whether a method draws a column given a linear predictor on another scale."""
    return bool(column.categories) or method.counts or "continuous" not in method.kinds


class _Compiler:
    """Makes the processors of one column ready."""

    def __init__(
        self,
        target: str,
        frame: Frame,
        groups: Groups | None,
        ignore: np.ndarray,
        methods: Sequence[type[Method]],
    ) -> None:
        self.target, self.frame, self.groups, self.ignore = target, frame, groups, ignore
        self.column, self.methods = frame.columns[target], methods
        self.where = f"post[{target!r}]"
        self.reads: dict[str, None] = {}
        self.link: np.ndarray | None = None

    def compile(self, steps: Sequence[Any]) -> Processing:
        if any(isinstance(step, Redraw) for step in steps[1:]):
            raise ModelError(CODE, f"{self.where}: redraw must come first, before other changes")
        ready = [self.ready(step) for step in steps]
        kept = tuple(step for step in ready if step is not None)
        if self.column.level == 2:
            low = [name for name in self.reads if self.frame.columns[name].level == 1]
            if low:
                message = f"{self.target!r} is constant in clusters, {some(low)} is not"
                raise ModelError("E30", f"{self.where}: {message}")
        return Processing(kept, tuple(self.reads), self.link)

    def ready(self, step: Any) -> Processor | None:
        """Return a processor for this column; None for a shift of the linear predictor."""
        if isinstance(step, Delta):
            return self.delta(step)
        if isinstance(step, SetWhere):
            value = self.value(step.value)
            return SetWhere(self.condition(step.where), value)
        if self.column.categories:
            raise ModelError(
                CODE, f"{self.where}: a column of categories takes delta and set_where only"
            )
        if isinstance(step, Redraw) and any(method.joint for method in self.methods):
            raise ModelError(
                CODE, f"{self.where}: redraw is for columns drawn by themselves; use squeeze"
            )
        if isinstance(step, Squeeze):
            if step.low is None and step.high is None:
                seen = self.column.values[~self.column.missing & ~self.ignore]
                return Squeeze(float(seen.min()), float(seen.max()))
            low = -np.inf if step.low is None else step.low
            high = np.inf if step.high is None else step.high
            return replace(step, low=low, high=high)
        if isinstance(step, Round):
            return step
        if not callable(step):
            raise ModelError(
                CODE,
                f"{self.where} must be made by jaxmice.post or be a function of values and "
                f"columns, got {type(step).__name__}",
            )
        traced = trace(step, self.frame, f"the function of {self.where}", before=True)
        self.reads |= dict.fromkeys(traced.direct)
        return Function(_Reading(traced.function, traced.direct))

    def condition(self, text: str) -> Expression:
        found = self.expression(text)
        if not found.logical:
            raise ModelError("E30", f"{self.where}: {text!r} is no condition")
        return found

    def expression(self, text: str) -> Expression:
        clustered = self.frame.clusters is not None
        found = parse(text, self.frame.columns, self.where, clustered=clustered)
        self.reads |= dict.fromkeys(found.direct + found.pooled)
        return found

    def value(self, value: Any) -> float:
        """Return a number, or the code of a category."""
        categories = self.column.categories
        if not categories:
            if isinstance(value, str):
                raise ModelError(CODE, f"{self.where}: {value!r} is no number")
            return float(value)
        if value not in categories:
            raise ModelError(
                CODE, f"{self.where}: {value!r} is no category; there is {some(categories)}"
            )
        return float(categories.index(value))

    def delta(self, step: Delta) -> Processor | None:
        scale = step.scale
        shift: Any = step.shift
        shift = self.expression(shift) if isinstance(shift, str) else self.shift(shift)
        by_expression = isinstance(shift, Expression)
        on_link = {_on_link_scale(method, self.column) for method in self.methods}
        if on_link == {False}:
            where = None if step.where is None else self.condition(step.where)
            return (Move if by_expression else Delta)(shift, scale, where)
        if len(on_link) > 1:
            raise ModelError(
                CODE, f"{self.where}: delta means other things to other methods of {self.target!r}"
            )
        if scale != 1.0:
            raise ModelError(CODE, f"{self.where}: delta has a scale for numbers only")
        for method in self.methods:
            if method.donor_based or not method.uses_predictors:
                raise ModelError(
                    CODE,
                    f"{self.where}: method {method.name!r} has no linear predictor to shift; "
                    f"choose another method for {self.target!r}",
                )
        if by_expression:
            shift = self.complete(shift)
        rows = np.broadcast_to(np.asarray(shift, float), self.frame.n)
        if step.where is not None:
            rows = np.where(self.complete(self.condition(step.where)) > 0, rows, 0.0)
        self.link = rows if self.link is None else self.link + rows
        return None

    def complete(self, found: Expression) -> np.ndarray:
        """Return (n,) the values of an expression in complete columns."""
        columns = self.frame.columns
        holes = [n for n in found.direct + found.pooled if columns[n].missing.any()]
        if holes:
            raise ModelError(
                "E30",
                f"{self.where}: delta of a category or count needs an expression in complete "
                f"columns; {some(holes)} is not complete",
            )
        pool = None
        if self.groups is not None:
            pool = HostPool(self.groups, self.ignore, (self.frame.n,))
        values = found(np, lambda name: columns[name].values, pool)  # type: ignore[arg-type]
        return np.broadcast_to(values, self.frame.n)

    def shift(self, shift: Any) -> float | np.ndarray:
        """Return a shift, by row if it differs between clusters."""
        if not isinstance(shift, Mapping):
            return shift
        clusters = self.frame.clusters
        if clusters is None:
            raise ModelError(CODE, f"{self.where}: a shift by cluster needs a cluster column")
        unknown = [label for label in shift if label not in clusters.labels]
        if unknown:
            raise ModelError(
                CODE,
                f"{self.where}: delta names clusters {some(unknown)} that are not in data; "
                f"there is {some(clusters.labels)}",
            )
        by_cluster = np.array([float(shift.get(label, 0.0)) for label in clusters.labels] + [0.0])
        return by_cluster[clusters.codes]


@dataclass(frozen=True)
class _Reading:
    """A function of values and columns, called with the columns that it reads."""

    function: Any
    names: tuple[str, ...]

    def __call__(self, values: Any, column: Any) -> Any:
        return jnp.asarray(self.function(values, Columns(column, self.names)))
