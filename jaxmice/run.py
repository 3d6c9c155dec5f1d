"""A run in units of the user: models, arrays and chains, and how to read the chains."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxmice.engine import Session
from jaxmice.engine.streams import settings
from jaxmice.errors import DataError, RunError
from jaxmice.events import EventLog
from jaxmice.frame import encode, in_row_order
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel
from jaxmice.model.passive import recompute
from jaxmice.model.problem import Prepared, Scale, make_problem
from jaxmice.wording import SHOWN

TRACES = ("mean", "variance", "between", "within")

FAR_COUNT = 10
"""Imputed counts beyond this many times the largest observed one are told."""


@dataclass(frozen=True)
class Run:
    """Chains of one or more data sets, which can be read and advanced.

    Parameters
    ----------
    models
        One model per data set; they share their form.
    init
        Starting values, see `mice`.
    prepared
        The run as arrays.
    session
        The chains.
    seconds
        What the preparations took.
    """

    models: Sequence[ImputationModel]
    init: Any
    prepared: Prepared
    session: Session
    seconds: dict[str, float]

    @classmethod
    def begin(
        cls,
        models: Sequence[ImputationModel],
        chains: Sequence[int],
        *,
        init: Any,
        seed: int,
        precision: str,
        device: Any,
        chunk_chains: int | None,
        events: EventLog,
        setup_seconds: float = 0.0,
        same_streams: bool = False,
    ) -> "Run":
        """Build the arrays of a run; nothing is drawn yet."""
        began = time.perf_counter()
        prepared = make_problem(models, _starts(models, init))
        problem = replace(prepared.problem, same_streams=same_streams)
        prepared = replace(prepared, problem=problem)
        session = Session(
            prepared.problem,
            chains,
            seed,
            precision=precision,
            device=device,
            chunk_chains=chunk_chains,
            events=events,
        )
        seconds = {"setup": setup_seconds + time.perf_counter() - began}
        return cls(models, init, prepared, session, seconds)

    def begin_with(self, target: str, rows: np.ndarray, values: np.ndarray) -> None:
        """Let the cells (k,) of a column begin with values (k, m), coded, in the user's units."""
        problem, place = self.prepared.problem, self.prepared.blocks[0].positions(rows)
        if target not in [problem.targets[index] for index in problem.carried]:
            return
        scale = self.prepared.scales[0][target]
        coded = (values[place >= 0] - scale.location) / scale.scale
        self.session.begin_with(target, place[place >= 0], coded.T)

    def advance(
        self, n_iterations: int, progress: Any = False, after: Callable[[], None] | None = None
    ) -> None:
        """Run iterations, with a bar if one is wanted; `after` is called after each."""
        session = self.session
        if progress is True:
            from tqdm import tqdm

            with tqdm(total=n_iterations * len(session.problem.steps), unit="visit") as bar:

                def show(iteration: int, block: str) -> None:
                    bar.set_postfix_str(f"iteration {iteration}, {block}", refresh=False)
                    bar.update()

                done = session.advance(n_iterations, show, after)
        else:
            done = session.advance(n_iterations, progress or None, after)
        if not done:
            message = f"the run was interrupted after iteration {session.iteration}"
            session.events.add("interrupted", message, it=session.iteration)

    def extend(self, more: int, further: int, progress: Any) -> "Run":
        """Return the run with further imputations or more iterations; this one stays."""
        session = self.session.copy(EventLog(list(self.session.events)))
        longer = replace(self, session=session)
        if further:
            m, iterations = len(session.chains), session.iteration
            extra = Session(
                self.prepared.problem,
                range(m + 1, m + further + 1),
                session.seed,
                precision=session.precision,
                device=session.device,
                chunk_chains=None,
                events=session.events,
            )
            replace(self, session=extra).advance(iterations, progress)
            if extra.iteration != iterations:
                raise RunError("E56", "interrupted before the further imputations were complete")
            session.join(extra)
        if more:
            longer.advance(more, progress)
        return longer

    def results(self) -> list[ImputedData]:
        """Bring draws and traces back to rows and units, one result per data set."""
        session = self.session
        # A complete column of a block that is drawn together has nothing to report.
        wanted = {
            name
            for model in self.models
            for name, cells in zip(model.frame.columns, model.where.T, strict=True)
            if cells.any()
        }
        draws = {t: session.draws(t) for t in session.problem.targets if t in wanted}
        # Products and functions in formulas are not part of the result.
        shown = [target for target in draws if target in self.models[0].original.columns]
        raw = {t: {name: session.trace(t, name) for name in TRACES} for t in shown}
        unfitted = {
            step.targets[0]: told
            for step in session.problem.steps
            if (told := session.unfitted(step)) is not None
        }
        out = []
        for r, model in enumerate(self.models):
            cells = {target: self._cells(r, target, drawn[r]) for target, drawn in draws.items()}
            events = EventLog([*model.events, *session.events])
            _report_far_counts(model, cells, session.iteration, events)
            for target, told in unfitted.items():
                _report_unfitted(model, target, told[r], session.iteration, events)
            recompute(model.rules, model.frame, model.ignore, cells)
            out.append(
                ImputedData(
                    data=model.original,
                    model=model,
                    cells={target: cells[target] for target in shown},
                    traces=self._traces(r, raw),
                    m=len(session.chains),
                    iteration=session.iteration,
                    info=_info(session, self.seconds),
                    events=events,
                    run=(self, r),
                )
            )
        return out

    def _cells(self, r: int, target: str, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows (k,) of a target that were imputed, and its values (k, m)."""
        session, model, blocks = self.session, self.models[r], self.prepared.blocks[r]
        scale, column = self.prepared.scales[r][target], model.frame.columns[target]
        rows = np.flatnonzero(model.where[:, list(model.frame.columns).index(target)])
        place = blocks.positions(rows)
        rows, place = rows[place >= 0], place[place >= 0]
        values = drawn.reshape(len(session.chains), -1)[:, place].T.astype(float)
        values = values * scale.scale + scale.location
        methods = [visit.method for visit in model.visits if target in visit.targets]
        is_donated = any(method.donor_based for method in methods)
        is_start = session.iteration == 0 and session.problem.start is None
        if target in model.post:
            values = model.post[target].settle(_whole(values, scale, session.precision))
        elif is_donated or is_start:
            values = _snap(values, np.unique(column.values[~column.missing]))
        elif any(method.integral for method in methods):
            values = np.round(values)
        return rows, values

    def _traces(self, r: int, raw: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the traces (variable, iteration, m) in units of the data."""
        shape = (0, self.session.iteration, len(self.session.chains))
        out: dict[str, list[np.ndarray]] = {name: [] for name in TRACES}
        for target, traced in raw.items():
            scale = self.prepared.scales[r][target]
            first = 1.0 if self.models[r].frame.columns[target].categories else 0.0
            for name in TRACES:
                power, shift = (1, scale.location + first) if name == "mean" else (2, 0.0)
                with np.errstate(over="ignore"):
                    unit = np.float64(scale.scale) ** power
                    out[name].append(traced[name][r] * unit + shift)
        return {name: np.stack(rows) if rows else np.zeros(shape) for name, rows in out.items()}


def _starts(models: Sequence[ImputationModel], init: Any) -> list[dict[str, np.ndarray]] | None:
    """Return complete coded starting values of all columns, or None for draws."""
    if isinstance(init, str) and init == "sample":
        return None
    if isinstance(init, str) and init == "mean":
        return [{name: _filled(column) for name, column in _columns(m)} for m in models]
    if not isinstance(init, pd.DataFrame):
        message = f"init must be 'sample', 'mean' or a data frame, got {init!r}"
        raise DataError("E47", message)
    model = models[0]
    targets = {name for visit in model.visits for name in visit.targets}
    if lacking := sorted(targets - set(init.columns)):
        raise DataError("E47", f"init lacks the columns {', '.join(lacking)}")
    if len(init) != model.frame.n:
        raise DataError("E47", f"init has {len(init)} rows, data {model.frame.n}")
    init = in_row_order(init, model.frame.data.index, "E47", "init")
    # Passive columns are computed before anything is drawn.
    starts: dict[str, np.ndarray] = {
        rule.target: np.nan_to_num(model.frame.columns[rule.target].values) for rule in model.rules
    }
    frame = encode(init[model.frame.data.columns.intersection(init.columns)], events=EventLog())
    for name, column in _columns(model):
        if name not in targets:
            continue
        given = frame.columns[name]
        if given.missing.any():
            raise DataError("E47", f"init has missing values in {name!r}")
        values = given.values
        if column.categories:
            values = _recode(name, init[name], column.categories)
        starts[name] = np.where(column.missing, values, column.values)
    return [starts]


def _recode(name: str, values: pd.Series, categories: tuple[Any, ...]) -> np.ndarray:
    codes = {category: code for code, category in enumerate(categories)}
    if unknown := set(values.unique()) - set(codes):
        raise DataError(
            "E47", f"init has unknown categories in {name!r}: {sorted(map(str, unknown))}"
        )
    return values.map(codes).to_numpy(float)


def _columns(model: ImputationModel) -> list[tuple[str, Any]]:
    return list(model.frame.columns.items())


def _filled(column: Any) -> np.ndarray:
    """Fill a coded column with its mean, or its most frequent code."""
    values = column.values[~column.missing]
    if values.size == 0:
        return np.zeros_like(column.values)
    fill = np.bincount(values.astype(int)).argmax() if column.categories else values.mean()
    return np.where(column.missing, fill, column.values)


def _report_far_counts(
    model: ImputationModel,
    cells: Mapping[str, tuple[np.ndarray, np.ndarray]],
    iteration: int,
    events: EventLog,
) -> None:
    """Report imputed counts far beyond all that were observed (event ``far_counts``)."""
    for visit in model.visits:
        for target in visit.targets if visit.method.counts else ():
            column = model.frame.columns[target]
            observed = column.values[~column.missing]
            if target not in cells or not observed.size:
                continue
            values, most = cells[target][1], max(float(observed.max()), 1)
            far = int(np.sum(values > FAR_COUNT * most))
            if far:
                events.add(
                    "far_counts",
                    f"{far} of {values.size} imputed counts of {target!r} are more than "
                    f"{FAR_COUNT} times the largest observed one, {most:g} (largest: "
                    f"{values.max():g}); look for predictors with extreme values in the rows "
                    "imputed, use fewer random slopes, or bound the values by "
                    "jm.post.redraw",
                    dep=target,
                    meth=visit.method.name,
                    it=iteration,
                )


def _report_unfitted(
    model: ImputationModel, target: str, told: np.ndarray, iteration: int, events: EventLog
) -> None:
    """Report clusters with observed values but no fit, (m, J) (event ``no_fit``)."""
    clusters, column = model.frame.clusters, model.frame.columns[target]
    assert clusters is not None
    rows = ~column.missing & ~model.ignore & (clusters.codes >= 0)
    n = np.bincount(clusters.codes[rows], minlength=clusters.J)
    lost = np.flatnonzero(np.any(told, axis=0)[: clusters.J] & (n > 0))
    if not len(lost):
        return
    named = [f"{clusters.labels[j]} ({n[j]} observed)" for j in lost]
    method = next(visit.method.name for visit in model.visits if target in visit.targets)
    events.add(
        "no_fit",
        f"{target!r}: no fit of its own in {len(lost)} of {clusters.J} clusters, "
        f"{', '.join(named[:SHOWN])}{', ...' if len(lost) > SHOWN else ''}: fewer observed values "
        "than two more than its equation has coefficients, or a likelihood without a maximum "
        "that can be found. They say nothing about the others, and their parameters are drawn "
        "from the distribution over clusters; use fewer predictors, join clusters, or take a "
        "method that fits all at once, such as '2l.heckman'",
        dep=target,
        meth=method,
        it=iteration,
    )


def _whole(values: np.ndarray, scale: Scale, precision: str) -> np.ndarray:
    """Return values of which those that are whole, rounding of the scale apart, are whole."""
    slack = 16 * np.finfo(precision).eps * (abs(scale.location) + np.abs(values))
    return np.where(np.abs(values - np.round(values)) <= slack, np.round(values), values)


def _snap(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the observed value that each value is, rounding of the scale apart."""
    place = np.clip(np.searchsorted(observed, values), 1, max(len(observed) - 1, 1))
    if len(observed) == 1:
        return np.full_like(values, observed[0])
    below, above = observed[place - 1], observed[place]
    return np.where(values - below <= above - values, below, above)


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("jaxmice", "jax", "jaxlib", "numpy", "pandas")}


def _info(session: Session, seconds: dict[str, float]) -> dict[str, Any]:
    device = session.device or jax.devices()[0]
    return {
        "versions": dict(_versions()),
        "seed": session.seed,
        "rng": settings(),
        "precision": session.precision,
        "device": f"{device.platform}:{device.device_kind}",
        "seconds": {**seconds, "run": session.seconds},
    }
