"""Small programs between the visits: passive columns and post-processing.

A visit knows nothing of either, so that runs without them compile what they always did.
Both work in the user's units on the current columns of a chain.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxmice.engine.problem import Data
from jaxmice.engine.visit import Trace, make_trace, over_chains
from jaxmice.linalg import cluster_sums, counting_rows, to_rows

ROUNDING = 8
"""Units in the last place by which a whole number may be off after a change of scale."""


@dataclass(frozen=True)
class Names:
    """Which columns there are, by name."""

    complete: tuple[str, ...]
    """Columns in `Values.complete`."""

    carried: tuple[str, ...]
    """Columns that the chains carry."""

    targets: tuple[str, ...]
    """Columns of `Data.observed`."""


class Values(eqx.Module):
    """What brings columns into the user's units."""

    complete: Float[Array, "R k K B"]
    """Complete columns."""

    location: Float[Array, "R t"]
    """Location of every target."""

    scale: Float[Array, "R t"]


class Report(eqx.Module):
    """Cells of a computed or processed column that are not finite."""

    n_bad: Int[Array, "*r"]
    place: Int[Array, "*r"]
    """The first of them, in the blocks laid end to end."""

    n_clipped: Int[Array, "*r"]
    """Cells that a post-processor had to change whose changes are counted."""


@dataclass(frozen=True)
class Between:
    """What happens between the visits of a run."""

    names: Names
    values: Values
    rules: tuple[tuple[str, Callable[..., Any]], ...]
    """Passive columns and their functions, each after those that it reads."""

    ingredients: frozenset[str]
    """Columns that the rules read."""

    steps: dict[str, Any]
    """Post-processing of the columns that have any, see `process`."""

    rows: np.ndarray
    """(R, K, B) position in the data of the row at each place."""

    row_labels: tuple[Sequence[Any], ...]
    """For every data set the labels of its rows."""

    def complain(self, what: str, report: Report, problem: Any, chains: np.ndarray) -> str:
        """Say where values are not finite; nothing if there are none."""
        n_bad, place = np.asarray(report.n_bad), np.asarray(report.place)
        if not n_bad.any():
            return ""
        replication, chain = np.unravel_index(np.argmax(n_bad), n_bad.shape)
        at = int(place[replication, chain])
        block_cluster = np.asarray(problem.data.layout.block_cluster)[replication]
        labels = problem.cluster_labels[replication]
        cluster = block_cluster[at // self.rows.shape[-1]]
        inside = f", cluster {labels[cluster]!r}" if labels else ""
        row = self.row_labels[replication][self.rows[replication].ravel()[at]]
        return (
            f"{what}, chain {chains[chain]}: {n_bad[replication, chain]} values are not finite, "
            f"first in row {row!r}{inside}; keep the columns it reads in range (method 'pmm', "
            "or post=), or guard it by where()"
        )


class DevicePool:
    """Sums over clusters by row; rows that are ignored do not count.

    A cluster of ignored rows only counts them all.
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.weight = counting_rows(data.used, data.layout)

    def sum(self, values: Array) -> Float[Array, "K 1"]:
        """Return for every row the sum over its cluster."""
        dtype = self.data.observed.dtype
        return self._rows(jnp.where(self.weight, values, 0).astype(dtype))

    def size(self) -> Float[Array, "K 1"]:
        """Return for every row the number of rows of its cluster."""
        return self.sum(jnp.ones(()))

    def _rows(self, values: Float[Array, "K B"]) -> Float[Array, "K 1"]:
        return to_rows(cluster_sums(values[None], self.data.layout), self.data.layout)[0]


def reader(
    names: Names, values: Values, columns: Float[Array, "c K B"]
) -> Callable[[str], Float[Array, "K B"]]:
    """Return what gives the current values of a column of one chain."""

    def column(name: str) -> Float[Array, "K B"]:
        if name not in names.carried:
            return values.complete[names.complete.index(name)]
        t = names.targets.index(name)
        coded = columns[names.carried.index(name)]
        return to_units(coded, values.location[t], values.scale[t])

    return column


def to_units(
    coded: Float[Array, "K B"], location: Float[Array, ""], scale: Float[Array, ""]
) -> Float[Array, "K B"]:
    """Return values in the user's units; whole numbers are whole again."""
    value = location + scale * coded
    near = jnp.round(value)
    slack = ROUNDING * jnp.finfo(value.dtype).eps * (jnp.abs(location) + jnp.abs(value))
    return jnp.where(jnp.abs(value - near) <= slack, near, value)


def recompute(
    rules: tuple[tuple[str, Callable[..., Any]], ...],
    names: Names,
    values: Values,
    data: Data,
    columns: Float[Array, "R m c K B"],
) -> tuple[Float[Array, "R m c K B"], list[Trace], list[Report]]:
    """Compute the missing cells of passive columns; return trace and report of each.

    Parameters
    ----------
    rules
        Column and function; a rule stands after those of its ingredients.
    """

    def one_chain(
        values: Values, data: Data, columns: Array
    ) -> tuple[Array, list[Trace], list[Report]]:
        pool, traces, reports = DevicePool(data), [], []
        for target, function in rules:
            found = function(jnp, reader(names, values, columns), pool)
            t, c = names.targets.index(target), names.carried.index(target)
            coded = (found - values.location[t]) / values.scale[t]
            cells = data.where[t] & ~data.seen[t]
            columns = columns.at[c].set(jnp.where(cells, coded, columns[c]))
            trace, report = _look(columns[c], cells, t, data)
            traces.append(trace)
            reports.append(report)
        return columns, traces, reports

    return over_chains(one_chain, (values, data), (columns,))


def process(
    steps: Any,
    target: str,
    names: Names,
    values: Values,
    data: Data,
    columns: Float[Array, "R m c K B"],
    drawn: Float[Array, "R m K B"],
    trace: Trace,
    slot: int,
) -> tuple[Float[Array, "R m c K B"], Float[Array, "R m K B"], Trace, Report]:
    """Change what was just drawn for one target; bring the trace of the visit up to date.

    Parameters
    ----------
    steps
        Functions of the drawn values, a reader of columns and the clusters.
    slot
        Place of the target among those of the visit.
    """

    def one_chain(
        values: Values, data: Data, steps: Any, columns: Array, drawn: Array, trace: Trace
    ) -> tuple[Array, Array, Trace, Report]:
        t, pool = names.targets.index(target), DevicePool(data)
        read = reader(names, values, columns)
        now = to_units(drawn, values.location[t], values.scale[t])
        n_clipped = jnp.array(0)
        for step in steps:

            def column(name: str, now: Array = now) -> Array:
                return now if name == target else read(name)

            before, now = now, step(now, column, pool)
            if step.reports:
                n_clipped += jnp.sum(data.where[t] & (now != before))
        wanted = data.where[t]
        drawn = jnp.where(wanted, (now - values.location[t]) / values.scale[t], drawn)
        if target in names.carried:
            c = names.carried.index(target)
            # An overimputed cell keeps its observed value as predictor of other columns.
            columns = columns.at[c].set(jnp.where(wanted & ~data.seen[t], drawn, columns[c]))
        after, report = _look(drawn, wanted, t, data)
        after = dataclasses.replace(
            after, n_bad=trace.n_bad[slot], bad_cluster=trace.bad_cluster[slot]
        )
        trace = jax.tree.map(lambda old, new: old.at[slot].set(new), trace, after)
        return columns, drawn, trace, dataclasses.replace(report, n_clipped=n_clipped)

    return over_chains(one_chain, (values, data, steps), (columns, drawn, trace))


def _look(
    column: Float[Array, "K B"], cells: Bool[Array, "K B"], target: int, data: Data
) -> tuple[Trace, Report]:
    bad = cells & ~jnp.isfinite(column)
    trace = make_trace(column, bad, jnp.asarray(target), data)
    return trace, Report(trace.n_bad, jnp.argmax(jnp.ravel(bad)), jnp.array(0))
