"""From a model in the user's terms to the arrays that the engine runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxmice.engine import (
    Between,
    Blocks,
    ChainSlots,
    Data,
    Names,
    Problem,
    SharedSlots,
    SlopeSlots,
    Spec,
    Step,
    Values,
    plan_blocks,
    plan_factors,
)
from jaxmice.frame import Column
from jaxmice.methods import Method
from jaxmice.model.model import INTERCEPT, ImputationModel, Term, Visit
from jaxmice.post import Redraw

NUMERIC = ("continuous", "integer", "time")
"""Kinds that are centred and scaled; categories keep their codes."""


@dataclass(frozen=True)
class Scale:
    """Location and scale of a column: value = location + scale * coded value."""

    location: float
    scale: float


@dataclass(frozen=True)
class Prepared:
    """A problem and what is needed to read its results."""

    problem: Problem
    blocks: tuple[Blocks, ...]
    scales: tuple[dict[str, Scale], ...]
    """For every data set the scale of each target."""


def make_problem(
    models: Sequence[ImputationModel], start: Sequence[dict[str, np.ndarray]] | None = None
) -> Prepared:
    """Build the arrays of a run for one model, or for several data sets of one model.

    Parameters
    ----------
    models
        Models with the same columns, methods and predictors.
    start
        For every data set complete starting values (n,) of each carried column, coded.
    """
    blocks = plan_blocks(
        [_codes(model) for model in models],
        [model.frame.clusters.J if model.frame.clusters else 1 for model in models],
    )
    widths = _widths(models)
    builders = [
        _Builder(model, layout, widths) for model, layout in zip(models, blocks, strict=True)
    ]
    built = [builder.build() for builder in builders]
    factors = plan_factors(blocks, [_further_codes(model) for model in models])
    first = built[0]
    stack = [_stack([part.steps[i].spec for part in built]) for i in range(len(first.steps))]
    steps = [replace(step, spec=spec) for step, spec in zip(first.steps, stack, strict=True)]
    begun: Any = None
    if start is not None:
        begun = np.stack([b.start(values) for b, values in zip(builders, start, strict=True)])
    problem = Problem(
        data=_stack(
            [replace(part.data, factors=own) for part, own in zip(built, factors, strict=True)]
        ),
        steps=steps,
        targets=first.targets,
        carried=first.carried,
        start=begun,
        leave_one_out=models[0].group_mean == "leave_one_out",
        between=_between(builders, first),
        cluster_labels=tuple(m.frame.clusters.labels if m.frame.clusters else () for m in models),
    )
    scales = tuple({name: b.scales[name] for name in first.targets} for b in builders)
    return Prepared(problem, tuple(blocks), scales)


def scale_of(column: Column, used: np.ndarray, *, standardize: bool) -> Scale:
    """Return the scale of a column from its observed, not ignored values."""
    if not standardize or column.kind not in NUMERIC:
        return Scale(0.0, 1.0)
    values = column.values[~column.missing & used]
    if values.size == 0:
        return Scale(0.0, 1.0)
    # Twice rescaled, so that neither a huge nor a tiny unit loses digits or overflows.
    size = float(np.max(np.abs(values))) or 1.0
    location = float(np.mean(values / size)) * size
    deviation = float(np.std(values / size - location / size)) * size
    return Scale(location, deviation if deviation > 1e-7 * size else 1.0)


def _leaf(value: Any, dtype: Any = None) -> Any:
    """Return a numpy array where the engine declares an array of JAX: it is one later."""
    return np.asarray(value, dtype)


def _codes(model: ImputationModel) -> np.ndarray:
    clusters = model.frame.clusters
    return np.zeros(model.frame.n, np.int64) if clusters is None else clusters.codes


def _further_codes(model: ImputationModel) -> list[np.ndarray]:
    clusters = model.frame.clusters
    return [] if clusters is None else [further.codes for further in clusters.further]


def _stack(parts: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def _carried(model: ImputationModel) -> list[str]:
    """Return the targets that have missing cells to fill, in visiting order."""
    where = dict(zip(model.frame.columns, model.where.T, strict=True))
    columns = model.frame.columns
    return [name for name in model.targets if (columns[name].missing & where[name]).any()]


def _split(
    visit: Visit, carried: Sequence[str]
) -> tuple[list[Term], list[Term], list[Term], list[Term]]:
    """Return the terms of Z and F, each split into shared and by chain."""
    random = (INTERCEPT,) if visit.absorb else visit.random
    z = [[t for t in random if (t.column in carried) == chain] for chain in (False, True)]
    f = [[t for t in visit.fixed if (t.column in carried) == chain] for chain in (False, True)]
    return z[0], z[1], f[0], f[1]


def _marks(
    parts: Sequence[list[Term]], widths: Sequence[int], without: frozenset[str]
) -> np.ndarray:
    """Return True for every column of X = [Z, F] but those that come from some columns."""
    live = [
        [term.column not in without for term in part] + [False] * (width - len(part))
        for part, width in zip(parts, widths, strict=True)
    ]
    return np.concatenate([np.array(part, bool) for part in live])


def _program(visit: Visit) -> Any:
    """Return what tells visits with different programs apart, widths aside."""
    return jax.tree.structure(visit.method), visit.absorb


def _widths(models: Sequence[ImputationModel]) -> dict[Any, tuple[int, ...]]:
    """Return the common widths of the designs of all visits that share a program."""
    widths: dict[Any, tuple[int, ...]] = {}
    for model in models:
        carried = _carried(model)
        for visit in model.visits:
            own = tuple(map(len, _split(visit, carried)))
            before = widths.get(_program(visit), own)
            widths[_program(visit)] = tuple(map(max, own, before))
    return widths


@dataclass(frozen=True)
class _Built:
    data: Data
    steps: list[Step]
    targets: tuple[str, ...]
    carried: tuple[int, ...]


def _between(builders: Sequence["_Builder"], first: _Built) -> Between | None:
    """Return passive columns and post-processing of all data sets, if there are any."""
    model = builders[0].model
    post = {name: part for name, part in model.post.items() if part.steps}
    if not model.rules and not post:
        return None
    read = [name for rule in model.rules for name in rule.ingredients]
    read += [name for part in post.values() for name in part.reads]
    carried = tuple(first.targets[i] for i in first.carried)
    complete = tuple(name for name in dict.fromkeys(read) if name not in carried)
    parts = [builder.between(complete, first.targets) for builder in builders]
    return Between(
        names=Names(complete, carried, first.targets),
        values=_stack([values for values, _ in parts]),
        rules=tuple((rule.target, rule.function) for rule in model.rules),
        ingredients=frozenset(name for rule in model.rules for name in rule.ingredients),
        steps=_stack([steps for _, steps in parts]),
        rows=np.stack([builder.blocks.row for builder in builders]),
        row_labels=tuple(builder.model.frame.data.index for builder in builders),
    )


class _Builder:
    """Builds the arrays of one data set."""

    def __init__(
        self, model: ImputationModel, blocks: Blocks, widths: dict[Any, tuple[int, ...]]
    ) -> None:
        self.model, self.blocks, self.widths = model, blocks, widths
        self.columns = model.frame.columns
        self.used = ~model.ignore
        self.codes = _codes(model)
        self.carried = _carried(model)
        self.scales = {
            name: scale_of(column, self.used, standardize=model.standardize)
            for name, column in self.columns.items()
        }
        self.shared: list[np.ndarray] = [np.ones(model.frame.n)]
        self.place: dict[tuple[Term, float], int] = {(INTERCEPT, 0.0): 0}

    def build(self) -> _Built:
        """Return the arrays without a replication axis."""
        model, layout = self.model, self.blocks
        targets = model.targets
        where = dict(zip(self.columns, model.where.T, strict=True))
        steps = [self._step(visit, targets) for visit in model.visits]
        coded = [self._coded(name) for name in targets]
        n = model.frame.n

        def arrange(parts: list[np.ndarray], dtype: Any) -> Any:
            stacked = np.array(parts, dtype).reshape(len(parts), n)
            return layout.to_blocks(stacked, fill=0)

        data = Data(
            shared=arrange(self.shared, float),
            observed=arrange([np.nan_to_num(values) for values in coded], float),
            seen=arrange([~self.columns[name].missing for name in targets], bool),
            where=arrange([where[name] for name in targets], bool),
            used=_leaf(layout.to_blocks(self.used, fill=0)),
            delta=arrange(self._delta(targets), float),
            level2=_leaf([self.columns[name].level == 2 for name in targets], bool),
            layout=layout.device_layout(),
        )
        return _Built(data, steps, targets, tuple(map(targets.index, self.carried)))

    def start(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Return starting values of the carried columns, (c, K, B)."""
        coded = [
            (values[name] - self.scales[name].location) / self.scales[name].scale
            for name in self.carried
        ]
        stacked = np.array(coded, float).reshape(len(coded), self.model.frame.n)
        return self.blocks.to_blocks(stacked)

    def between(self, complete: Sequence[str], targets: Sequence[str]) -> tuple[Values, Any]:
        """Return values in the user's units, and post-processors by column."""
        layout, n = self.blocks, self.model.frame.n

        def arrange(leaf: Any) -> np.ndarray:
            return layout.to_blocks(leaf, fill=0) if np.ndim(leaf) else np.asarray(leaf, float)

        stacked = np.array([self.columns[name].values for name in complete], float)
        scales = [self.scales[name] for name in targets]
        values = Values(
            complete=_leaf(layout.to_blocks(stacked.reshape(len(complete), n), fill=0)),
            location=_leaf([scale.location for scale in scales], float),
            scale=_leaf([scale.scale for scale in scales], float),
        )
        steps = {name: part.steps for name, part in self.model.post.items() if part.steps}
        return values, jax.tree.map(arrange, steps)

    def _delta(self, targets: Sequence[str]) -> list[np.ndarray]:
        """Return the shifts of linear predictors by target; nothing if there is none."""
        links = {name: part.link for name, part in self.model.post.items()}
        if all(link is None for link in links.values()):
            return []
        none = np.zeros(self.model.frame.n)
        shifts = [links.get(name) for name in targets]
        return [none if shift is None else shift for shift in shifts]

    def _coded(self, name: str) -> np.ndarray:
        scale = self.scales[name]
        return (self.columns[name].values - scale.location) / scale.scale

    def _step(self, visit: Visit, targets: Sequence[str]) -> Step:
        z_shared, z_chain, f_shared, f_chain = _split(visit, self.carried)
        widths = self.widths[_program(visit)]
        z_intercept = INTERCEPT in z_shared
        any_intercept = z_intercept or INTERCEPT in f_shared
        method = self._method(visit)
        scales = [self.scales[name] for name in visit.targets]
        raw = not method.standardised
        column = [self.carried.index(n) if n in self.carried else -1 for n in visit.targets]
        shift = [scale.location / (1.0 if raw else scale.scale) for scale in scales]
        # What several targets share has no unit of theirs.
        y_scale = 1.0 if raw or method.joint else scales[0].scale
        spec = Spec(
            target=_leaf([targets.index(name) for name in visit.targets]),
            column=_leaf(column),
            z_shared=self._shared_slots(z_shared, widths[0], centred=z_intercept),
            z_chain=self._chain_slots(z_chain, widths[1], centred=z_intercept),
            f_shared=self._shared_slots(f_shared, widths[2], centred=any_intercept),
            f_chain=self._chain_slots(f_chain, widths[3], centred=any_intercept),
            z_intercept=_leaf(z_intercept),
            f_intercept=_leaf(INTERCEPT in f_shared),
            y_unit=_leaf([scale.scale if raw else 1.0 for scale in scales]),
            y_shift=_leaf(shift if raw or not any_intercept else [0.0] * len(shift), float),
            y_scale=_leaf([1.0 if raw else scale.scale for scale in scales]),
            factors=visit.factors,
            slopes=tuple(self._slope_slots(terms, y_scale) for terms in visit.slopes),
            z_units=_leaf(self._units(z_shared, z_chain, widths, z_intercept, y_scale)),
        )
        if method.models_selection:
            parts = (z_shared, z_chain, f_shared, f_chain)
            spec = replace(
                spec,
                selects=_leaf(_marks(parts, widths, visit.outcome_only)),
                explains=_leaf(_marks(parts, widths, visit.selection_only)),
            )
        processing = self.model.post.get(visit.targets[0])
        first = processing.steps[0] if processing and processing.steps else None
        if isinstance(first, Redraw):
            bounds = (np.array([first.low, first.high]) - scales[0].location) / scales[0].scale
            spec = replace(spec, bounds=_leaf(bounds, float), max_try=first.max_try)
        chain_terms = z_chain + f_chain
        return Step(
            block=visit.block,
            targets=visit.targets,
            number=visit.number,
            method=method,
            spec=spec,
            uses_means=any(term.mean or term.centered for term in chain_terms),
        )

    def _method(self, visit: Visit) -> Method:
        """Return the method as it imputes the columns of a visit."""
        columns = [self.columns[name] for name in visit.targets]
        sizes = [len(column.categories) for column in columns]
        if not visit.method.joint:
            return visit.method.for_column(columns[0].kind, sizes[0])
        kinds = tuple(column.kind for column in columns)
        return visit.method.for_columns(
            kinds, tuple(sizes), tuple(max(column.level, 1) for column in columns)
        )

    def _shift(self, term: Term, *, centred: bool) -> float:
        """Return what to add to a coded column: centre a dummy, or undo all centring."""
        if term.column is None or not self.model.standardize or term.centered:
            return 0.0
        if term.category is not None or self.columns[term.column].kind not in NUMERIC:
            return -self._share(term) if centred else 0.0
        scale = self.scales[term.column]
        return 0.0 if centred else scale.location / scale.scale

    def _share(self, term: Term) -> float:
        """Return the observed mean of a dummy or of a two-valued column."""
        assert term.column is not None
        column = self.columns[term.column]
        values = column.values[~column.missing & self.used]
        if values.size == 0:
            return 0.0
        return float(np.mean(values if term.category is None else values == term.category))

    def _shared_slots(self, terms: list[Term], width: int, *, centred: bool) -> SharedSlots:
        index, live = np.zeros(width, np.int32), np.zeros(width, bool)
        for slot, term in enumerate(terms):
            index[slot] = self._shared_column(term, self._shift(term, centred=centred))
            live[slot] = True
        return SharedSlots(index=_leaf(index), live=_leaf(live))

    def _shared_column(self, term: Term, shift: float) -> int:
        """Return the place of a complete design column, made on first use."""
        if (term, shift) not in self.place:
            assert term.column is not None
            values = self._coded(term.column)
            if term.category is not None:
                values = (values == term.category).astype(float)
            values = values + shift
            if term.mean or term.centered:
                mean = self._cluster_mean(values)
                values = mean if term.mean else values - mean
            self.place[term, shift] = len(self.shared)
            self.shared.append(np.nan_to_num(values))
        return self.place[term, shift]

    def _cluster_mean(self, values: np.ndarray) -> np.ndarray:
        """Return cluster means over the rows that are not ignored."""
        part = self.codes >= 0
        codes, used = np.where(part, self.codes, 0), self.used & part
        # Of a cluster of ignored rows all count.
        used = (used | (part & (np.bincount(codes, used)[codes] == 0))).astype(float)
        filled = np.nan_to_num(values) * used
        total, count = np.bincount(codes, filled)[codes], np.bincount(codes, used)[codes]
        if self.model.group_mean == "leave_one_out":
            total, count = total - filled, count - used
        return np.where(count > 0, total / np.maximum(count, 1), 0.0)

    def _chain_slots(self, terms: list[Term], width: int, *, centred: bool) -> ChainSlots:
        def pad(values: list[Any], dtype: Any, fill: Any) -> Any:
            return np.array(values + [fill] * (width - len(values)), dtype)

        sources = [self.carried.index(term.column) for term in terms if term.column is not None]
        categories = [-1 if term.category is None else term.category for term in terms]
        return ChainSlots(
            source=pad(sources, np.int32, 0),
            category=pad(categories, np.int32, -1),
            mean=pad([term.mean for term in terms], bool, False),
            centered=pad([term.centered for term in terms], bool, False),
            live=pad([True] * len(terms), bool, False),
            shift=pad([self._shift(term, centred=centred) for term in terms], float, 0.0),
        )

    def _slope_slots(self, terms: Sequence[Term], y_scale: float) -> SlopeSlots:
        """Return the slopes of a further cluster column, which has a random intercept."""
        shared = [term for term in terms if term.column not in self.carried]
        chain = [term for term in terms if term.column in self.carried]
        widths = (1 + len(shared), len(chain))
        return SlopeSlots(
            shared=self._shared_slots(shared, len(shared), centred=True),
            chain=self._chain_slots(chain, len(chain), centred=True),
            units=_leaf(
                self._units([INTERCEPT, *shared], chain, widths, z_intercept=True, y_scale=y_scale)
            ),
        )

    def _units(
        self,
        z_shared: list[Term],
        z_chain: list[Term],
        widths: tuple[int, ...],
        z_intercept: bool,
        y_scale: float,
    ) -> np.ndarray:
        """Return the matrix that turns random effects in the user's units into ours."""
        q = widths[0] + widths[1]
        units = np.eye(q)
        places = list(range(len(z_shared))) + [widths[0] + i for i in range(len(z_chain))]
        for place, term in zip(places, z_shared + z_chain, strict=True):
            scale = Scale(0.0, 1.0)
            if term.column is not None and term.category is None:
                scale = self.scales[term.column]
            units[place, place] = scale.scale / y_scale
            if z_intercept and term.column is not None and not term.centered:
                # The intercept of the centred design holds at the mean.
                location = scale.location - self._shift(term, centred=True)
                units[0, place] = location / y_scale
        return units
