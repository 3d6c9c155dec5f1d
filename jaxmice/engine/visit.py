"""The unit that is compiled: one visit of one block, in all chains of all data sets.

A visit (see `jaxmice.engine.compiling`) is compiled once per method, widths of the design
and shapes of the data. Usually a block is one target. The target, its predictors, the missing
cells, all values, the seed, the iteration and the number of inner iterations are arguments:
they compile nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxmice.engine.problem import ChainSlots, Data, SharedSlots, Spec
from jaxmice.engine.streams import as_keys
from jaxmice.linalg import Factor, Layout, cluster_sums, counting_rows, to_rows
from jaxmice.methods import Method
from jaxmice.random import once, resample, uniforms
from jaxmice.target import JointTarget, Selection, Target


class Trace(eqx.Module):
    """What a visit reports about the imputed cells of its targets, as the chains carry them."""

    mean: Float[Array, " *r"]
    variance: Float[Array, " *r"]
    between: Float[Array, " *r"]
    """Variance between clusters of the completed column (ANOVA)."""

    within: Float[Array, " *r"]
    """Variance within clusters of the completed column."""

    n_bad: Int[Array, " *r"]
    """Cells whose draw was not finite; they keep their value."""

    bad_cluster: Int[Array, " *r"]
    """First cluster with such a cell, or the number of clusters."""


def visit(
    keys: UInt32[Array, "R m 3 2"],
    method: Method,
    data: Data,
    spec: Spec,
    columns: Float[Array, "R m c K B"],
    state: Any,
    fresh: Bool[Array, ""],
    n_steps: Int[Array, ""],
    *,
    uses_means: bool,
    leave_one_out: bool,
) -> tuple[Float[Array, "R m c K B"], list[Float[Array, "R m K B"]], Any, Trace]:
    """Impute a block; return the columns, what was drawn, the state and the trace."""

    def one_chain(
        data: Data,
        spec: Spec,
        keys: UInt32[Array, "3 2"],
        columns: Float[Array, "c K B"],
        state: Any,
    ) -> tuple[Array, list[Array], Any, Trace]:
        key_init, key_step, key_impute = as_keys(keys)
        target = make_target(
            method, data, spec, columns, uses_means=uses_means, leave_one_out=leave_one_out
        )
        sums = method.read(target)
        begun = method.init(key_init, sums)
        begun = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), begun, state)
        state = method.step(key_step, begun, sums, n_steps)
        if spec.bounds is None:
            values = once(
                n_steps,
                lambda: method.impute(key_impute, state, target),
                jnp.zeros_like(target.y),
            )
        else:
            assert isinstance(target, Target)
            values = _redrawn(key_impute, method, state, target, spec)
        # Donors and categories are finite whatever the parameters are.
        values = jnp.where(_is_finite(state), values, jnp.nan)
        members = values if method.joint else values[None]
        drawn, traces = [], []
        for i, value in enumerate(members):
            columns, kept, trace = _keep(value, _member(spec, i), data, columns)
            drawn.append(kept)
            traces.append(trace)
        return columns, drawn, state, jax.tree.map(lambda *t: jnp.stack(t), *traces)

    return over_chains(one_chain, (data, spec), (keys, columns, state))


def _is_finite(state: Any) -> Bool[Array, ""]:
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves] or [jnp.array(True)]))


def _redrawn(
    key: Array, method: Method, state: Any, target: Target, spec: Spec
) -> Float[Array, "K B"]:
    """Draw until all values lie inside the bounds, each value being the first that does."""
    assert spec.bounds is not None
    low, high = spec.bounds * spec.y_unit[0] + spec.y_shift[0]

    def draw(at: tuple[Array, Array]) -> tuple[Array, Array]:
        tried, values = at
        new = method.impute(jax.random.fold_in(key, tried), state, target)
        return tried + 1, jnp.where(outside(values), new, values)

    def outside(values: Array) -> Array:
        return target.wy & ~((values >= low) & (values <= high))

    def going(at: tuple[Array, Array]) -> Array:
        return (at[0] <= spec.max_try) & jnp.any(outside(at[1]))

    begin = jnp.where(target.wy, jnp.nan, target.y)
    return jax.lax.while_loop(going, draw, (jnp.array(0), begin))[1]


def over_chains(
    function: Callable[..., Any], sets: tuple[Any, ...], chains: tuple[Any, ...]
) -> Any:
    """Map over data sets, and over the chains of each.

    Parameters
    ----------
    function
        Of what belongs to one data set, then what belongs to one chain.
    sets
        Arguments with an axis of data sets.
    chains
        Arguments with an axis of data sets, then one of chains.
    """

    def one_set(sets: tuple[Any, ...], chains: tuple[Any, ...]) -> Any:
        return _over_first_axis(partial(function, *sets), *chains)

    return _over_first_axis(one_set, sets, chains)


def _over_first_axis(function: Callable[..., Any], *arguments: Any) -> Any:
    """Map; a single data set or chain is not worth the time to trace another axis."""
    if jax.tree.leaves(arguments)[0].shape[0] > 1:
        return jax.vmap(function)(*arguments)
    result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
    return jax.tree.map(lambda leaf: leaf[None], result)


class _Member(eqx.Module):
    """The part of a `Spec` that belongs to one target."""

    target: Int[Array, ""]
    column: Int[Array, ""]
    unit: Float[Array, ""]
    shift: Float[Array, ""]


def _member(spec: Spec, i: int) -> _Member:
    return _Member(spec.target[i], spec.column[i], spec.y_unit[i], spec.y_shift[i])


def _keep(
    value: Float[Array, "K B"], member: _Member, data: Data, columns: Float[Array, "c K B"]
) -> tuple[Float[Array, "c K B"], Float[Array, "K B"], Trace]:
    """Put what was drawn for one target where it is wanted; report on it."""
    drawn = (value - member.shift) / member.unit
    seen, wanted = data.seen[member.target], data.where[member.target]
    before = jnp.where(seen, data.observed[member.target], columns[member.column])
    bad = wanted & ~jnp.isfinite(drawn)
    drawn = jnp.where(bad, before, drawn)
    # An overimputed cell keeps its observed value as predictor of other columns.
    value = jnp.where(wanted & ~seen, drawn, columns[member.column])
    columns = jnp.where(member.column >= 0, columns.at[member.column].set(value), columns)
    drawn = jnp.where(wanted, drawn, before)
    return columns, drawn, make_trace(drawn, bad, member.target, data)


def make_target(
    method: Method,
    data: Data,
    spec: Spec,
    columns: Float[Array, "c K B"],
    *,
    uses_means: bool,
    leave_one_out: bool,
) -> Target | JointTarget:
    """Assemble what a method sees from the columns of one chain."""
    rows = data.layout.row_live
    fill = partial(_fill_chain, columns, data, uses_means=uses_means, leave_one_out=leave_one_out)
    at = spec.target if method.joint else spec.target[0]
    seen = data.seen[at]

    def by_member(values: Float[Array, " r"]) -> Float[Array, "..."]:
        return values[:, None, None] if method.joint else values[0]

    observed = data.observed[at] * by_member(spec.y_unit) + by_member(spec.y_shift)
    delta = data.delta[at] if data.delta.shape[0] else jnp.zeros_like(observed)
    own: dict[str, Any] = {
        "y": jnp.where(seen, observed, 0),
        "ry": seen & data.used,
        "wy": data.where[at],
        "used": data.used & rows,
        "delta": jnp.where(data.where[at], delta, 0),
    }
    design: dict[str, Any] = {
        "z_shared": _fill_shared(data.shared, rows, spec.z_shared),
        "z_chain": fill(spec.z_chain),
        "f_shared": _fill_shared(data.shared, rows, spec.f_shared),
        "f_chain": fill(spec.f_chain),
        "z_live": jnp.concatenate([spec.z_shared.live, spec.z_chain.live]),
        "f_live": jnp.concatenate([spec.f_shared.live, spec.f_chain.live]),
        "z_intercept": spec.z_intercept,
        "f_intercept": spec.f_intercept,
        "z_units": spec.z_units,
        "layout": data.layout,
    }
    if method.joint:
        level2 = data.level2[spec.target]
        return JointTarget(**own, **design, seen=seen, level2=level2, y_scale=spec.y_scale)
    if method.models_selection:
        assert spec.selects is not None
        assert spec.explains is not None
        hidden = ~seen & data.used & rows
        own["selection"] = Selection(hidden, spec.selects, spec.explains)
    factors = _choose_factors(data, spec, fill)
    return Target(**own, **design, y_scale=spec.y_scale[0], factors=factors)


def _choose_factors(
    data: Data, spec: Spec, fill: Callable[[ChainSlots], Array]
) -> tuple[Factor, ...]:
    """Return the further factors of a target with their slopes, linked to each other."""
    out = []
    for place, (v, slots) in enumerate(zip(spec.factors, spec.slopes, strict=True)):
        links = data.factors[v].links
        shared = _fill_shared(data.shared, data.layout.row_live, slots.shared)
        factor = replace(
            data.factors[v],
            slopes=jnp.concatenate([shared, fill(slots.chain)]),
            slopes_live=jnp.concatenate([slots.shared.live, slots.chain.live]),
            units=slots.units,
            links=(links[0], *(links[1 + w] for w in spec.factors[:place])),
        )
        out.append(factor)
    return tuple(out)


def _fill_shared(
    shared: Float[Array, "c K B"], rows: Bool[Array, "K B"], slots: SharedSlots
) -> Float[Array, "s K B"]:
    return jnp.where(slots.live[:, None, None] & rows, shared[slots.index], 0)


def _fill_chain(
    columns: Float[Array, "c K B"],
    data: Data,
    slots: ChainSlots,
    *,
    uses_means: bool,
    leave_one_out: bool,
) -> Float[Array, "s K B"]:
    if slots.source.shape[0] == 0:
        return jnp.zeros((0, *columns.shape[1:]), columns.dtype)

    def wide(flags: Array) -> Array:
        return flags[:, None, None]

    values = columns[slots.source]
    is_dummy = (values == wide(slots.category)).astype(values.dtype)
    values = jnp.where(wide(slots.category >= 0), is_dummy, values) + wide(slots.shift)
    if uses_means:
        used = counting_rows(data.used, data.layout)
        total = to_rows(cluster_sums(values * used, data.layout), data.layout)
        size = cluster_sums(used[None].astype(values.dtype), data.layout)
        count = to_rows(size, data.layout)
        if leave_one_out:
            others = count - used
            mean = jnp.where(others > 0, (total - values * used) / jnp.maximum(others, 1), 0)
        else:
            mean = jnp.where(count > 0, total / jnp.maximum(count, 1), 0)
        mean = jnp.broadcast_to(mean, values.shape)
        values = jnp.where(wide(slots.mean), mean, values)
        values = jnp.where(wide(slots.centered), values - mean, values)
    return jnp.where(wide(slots.live) & data.layout.row_live, values, 0)


def make_trace(
    drawn: Float[Array, "K B"], bad: Bool[Array, "K B"], target: Int[Array, ""], data: Data
) -> Trace:
    """Summarise imputed cells and the clustering of the completed column.

    The variance components are those of a one-way analysis of variance with unequal
    cluster sizes (Donner 1986, International Statistical Review 54, 67-82).
    """
    layout: Layout = data.layout
    live = layout.row_live
    weight = data.where[target].astype(drawn.dtype)
    size = cluster_sums(live[None].astype(drawn.dtype), layout)
    # A level-2 column counts once per cluster.
    share = jnp.where(data.level2[target], 1 / jnp.maximum(size, 1), 1.0)
    weight = weight * to_rows(share, layout)[0]
    value = jnp.where(live, drawn, 0)
    n, total, N, grand = jnp.sum(jnp.stack([weight, weight * value, live, value]), axis=(1, 2))
    mean = total / n
    variance = jnp.sum(weight * (value - mean) ** 2) / (n - 1)
    deviation = jnp.where(live, value - grand / N, 0)
    sums, squares = cluster_sums(jnp.stack([deviation, deviation**2]), layout)
    size, J = size[0], jnp.sum(size > 0)
    between_ss = jnp.sum(sums**2 / jnp.maximum(size, 1))
    within = (jnp.sum(squares) - between_ss) / (N - J)
    n0 = (N - jnp.sum(size**2) / N) / (J - 1)
    first_bad = jnp.min(
        jnp.where(jnp.any(bad, axis=1), layout.block_cluster, layout.cluster_live.shape[0])
    )
    return Trace(
        mean=mean,
        variance=variance,
        between=(between_ss / (J - 1) - within) / n0,
        within=within,
        n_bad=jnp.sum(bad),
        bad_cluster=first_bad,
    )


def start_columns(
    keys: UInt32[Array, "R m 3 2"],
    names: UInt32[Array, " c"],
    data: Data,
    *,
    carried: tuple[int, ...],
) -> Float[Array, "R m c K B"]:
    """Fill the missing cells of all columns with draws from their observed values.

    A column that is constant in clusters gets one draw per cluster.
    """

    def one_chain(data: Data, keys: UInt32[Array, "3 2"]) -> Array:
        layout = data.layout
        at = jnp.array(carried)
        K, B = layout.row_live.shape
        key, dtype = as_keys(keys)[0], data.observed.dtype
        # By name, so that other columns move no column's draws.
        uniform = jax.vmap(lambda name: uniforms(key, name, (K, B), dtype))(names)
        J = layout.cluster_live.shape[0]
        # Any draw of its first block serves a whole cluster.
        first_block = jnp.clip(jnp.searchsorted(layout.block_cluster, jnp.arange(J)), 0, K - 1)
        by_cluster = to_rows(uniform[:, first_block, 0], layout)
        uniform = jnp.where(data.level2[at][:, None, None], by_cluster, uniform)

        def fill(y: Array, seen: Array, may_give: Array, u: Array) -> Array:
            # A column that is computed may show no value yet.
            drawn = jnp.where(jnp.any(may_give), resample(u, jnp.ravel(y), may_give), 0)
            return jnp.where(seen, y, drawn)

        seen = data.seen[at]
        may_give = (seen & data.used).reshape(len(carried), -1)
        filled = jax.vmap(fill)(data.observed[at], seen, may_give, uniform)
        return jnp.where(layout.row_live, filled, 0)

    return over_chains(one_chain, (data,), (keys,))


def blank_state(
    method: Method,
    data: Data,
    spec: Spec,
    columns: Float[Array, "R m c K B"],
    *,
    uses_means: bool,
    leave_one_out: bool,
) -> Any:
    """Return a state of zeros in the shapes of a method's own."""
    key = signature(method, data, spec, columns, uses_means=uses_means)
    if key not in _STATES:
        _STATES[key] = _state_shapes(method, data, spec, columns, uses_means, leave_one_out)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _STATES[key])


def signature(
    method: Method,
    data: Data,
    spec: Spec,
    columns: Float[Array, "R m c K B"],
    *,
    uses_means: bool,
) -> Any:
    """Return what tells the programs of two visits apart."""
    leaves, structure = jax.tree.flatten((method, data, spec, columns))
    shapes = (getattr(leaf, "shape", ()) for leaf in leaves)
    return structure, uses_means, *shapes, columns.dtype


_STATES: dict[Any, Any] = {}
"""Shapes of states; to find them takes a trace of the method's start."""


def _state_shapes(
    method: Method,
    data: Data,
    spec: Spec,
    columns: Float[Array, "R m c K B"],
    uses_means: bool,
    leave_one_out: bool,
) -> Any:
    def one_chain(data: Data, spec: Spec, columns: Array) -> Any:
        target = make_target(
            method, data, spec, columns, uses_means=uses_means, leave_one_out=leave_one_out
        )
        return method.init(jax.random.key(0), method.read(target))

    return jax.eval_shape(partial(over_chains, one_chain), (data, spec), (columns,))
