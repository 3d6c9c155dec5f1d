"""The front door: impute a data frame."""

import inspect
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxmice.engine import Session
from jaxmice.engine.precision import resolve
from jaxmice.engine.streams import IMPLEMENTATION
from jaxmice.errors import DataError, ModelError, RunError
from jaxmice.events import EventLog
from jaxmice.frame import encode
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel, setup
from jaxmice.model.passive import recompute
from jaxmice.model.problem import Prepared, Scale, make_problem
from jaxmice.wording import near


def mice(
    data: Any = None,
    m: int = 5,
    method: Any = None,
    predictor_matrix: Any = None,
    *,
    cluster: Any = None,
    maxit: int | None = None,
    init: Any = "sample",
    model: ImputationModel | None = None,
    seed: Any = None,
    device: Any = None,
    precision: str | None = None,
    chunk_chains: int | None = None,
    progress: bool | Callable[[int, str], None] = False,
    **setup_options: Any,
) -> ImputedData:
    """Impute incomplete clustered data m times by chained equations.

    Parameters
    ----------
    data
        Data frame with n rows and at least two columns; it is not modified.
    m
        Number of imputations.
    method
        Name of a method for all incomplete columns, a dict by column, or a list; see
        `jaxmice.methods`. Columns that are not named get their default.
    predictor_matrix
        Codes of predictors, rows targets, columns columns: -2 cluster, 0 none, 1 fixed,
        2 random slope, 3 fixed and cluster mean, 4 random slope and cluster mean.
    cluster
        Name of the column with the cluster ids, of any type; a list of names for nested or
        crossed clusters (see `setup`).
    maxit
        Iterations. By default 1 if a single column is imputed, otherwise 10. With 0 the
        result holds starting values only.
    init
        Starting values: ``"sample"`` (draws from the observed values), ``"mean"``, or a
        complete data frame.
    model
        A model made by `setup`, instead of data and set-up arguments.
    seed
        Seed of all random streams: an integer or a JAX key. ``None`` takes one from the
        operating system; it is kept in ``info["seed"]``.
    device
        ``"cpu"``, ``"gpu"`` or a `jax.Device`.
    precision
        ``"float64"`` (the default on a CPU) or ``"float32"`` (the default elsewhere).
    chunk_chains
        Chains to run together; by default as many as fit into memory. It does not
        change the result.
    progress
        True shows a bar; a function is called with iteration and block.
    **setup_options
        Every other argument of `setup`: ``roles``, ``options``, ``visit_sequence``, ...

    Returns
    -------
    ImputedData
        The imputations. Ctrl-C ends a run early, with all iterations done so far.

    Raises
    ------
    DataError, ModelError
        The data or the model cannot be used; nothing has been drawn then.
    RunError
        E31: draws were not finite.

    References
    ----------
    van Buuren S, Groothuis-Oudshoorn K (2011). mice: Multivariate imputation by chained
    equations in R. Journal of Statistical Software 45(3), section 2.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> imp = jm.mice(d, m=2, method={"popular": "2l.pan"}, cluster="school",
    ...               roles={"popular": {"sex": "random", "texp": "fixed"}}, seed=1)
    >>> imp.m, int(imp.complete(1).isna().sum().sum())
    (2, 0)
    """
    m = _count(m, "E09", "m must be a positive integer", 1)
    began = time.perf_counter()
    if model is not None:
        given = [data is not None and "data", method is not None and "method"]
        given += [predictor_matrix is not None and "predictor_matrix", *setup_options]
        if clash := [name for name in [*given, cluster is not None and "cluster"] if name]:
            raise ModelError("E50", f"pass either model= or {', '.join(map(str, clash))}")
    else:
        _check_names(mice, setup_options)
        model = setup(data, method, predictor_matrix, cluster=cluster, **setup_options)
    seconds = time.perf_counter() - began
    results = _run(
        [model], m, maxit, init, seed, device, precision, chunk_chains, progress, seconds
    )
    results[0].warn()
    return results[0]


def replicate(
    frames: Sequence[pd.DataFrame],
    m: int = 5,
    method: Any = None,
    predictor_matrix: Any = None,
    *,
    maxit: int | None = None,
    seed: Any = None,
    device: Any = None,
    precision: str | None = None,
    chunk_chains: int | None = None,
    **setup_options: Any,
) -> list[ImputedData]:
    """Impute several data sets of the same form side by side, in one program.

    The replications of a simulation study are an axis of the arrays, like the chains.
    Data set number 1 is imputed as `mice` would impute it under the same seed.

    Parameters
    ----------
    frames
        Data sets with the same columns, imputed columns and predictors; their numbers
        of rows and clusters and their missing cells may differ.
    m, method, predictor_matrix, maxit, seed, device, precision, chunk_chains
        As for `mice`.
    **setup_options
        Every other argument of `setup`.

    Returns
    -------
    One `ImputedData` per data set.

    Raises
    ------
    ModelError
        E55: the data sets lead to different imputation models.
    """
    m = _count(m, "E09", "m must be a positive integer", 1)
    _check_names(replicate, setup_options)
    if not frames:
        raise DataError("E02", "replicate() needs at least one data set")
    began = time.perf_counter()
    models = [setup(frame, method, predictor_matrix, **setup_options) for frame in frames]
    for number, model in enumerate(models[1:], 2):
        if _form(model) != _form(models[0]):
            message = (
                f"data set {number} is imputed differently from the first; fix the model "
                "by method=, roles= or predictor_matrix=, or pass screen='off'"
            )
            raise ModelError("E55", message)
    seconds = time.perf_counter() - began
    return _run(models, m, maxit, "sample", seed, device, precision, chunk_chains, False, seconds)


def _form(model: ImputationModel) -> Any:
    """Return what data sets that are imputed side by side must share."""
    functions = [(rule.target, rule.function) for rule in model.rules]
    steps = {name: (part.steps, part.link is None) for name, part in model.post.items()}
    return model.visits, functions, jax.tree.structure(steps)


def _check_names(caller: Callable[..., Any], setup_options: Mapping[str, Any]) -> None:
    """Refuse an argument that neither the caller nor `setup` knows."""
    known = [*inspect.signature(setup).parameters, *inspect.signature(caller).parameters]
    for name in setup_options:
        if name not in known:
            message = f"{caller.__name__}() got an unexpected argument {name!r}"
            raise TypeError(f"{message}; {near(name, known)}")


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _count(value: Any, code: str, message: str, least: int) -> int:
    if not _is_int(value) or value < least:
        raise DataError(code, f"{message}, got {value!r}")
    return int(value)


def _seed(seed: Any) -> int:
    """Return the seed as a number below 2^64."""
    if seed is None:
        return secrets.randbits(64)
    is_key = isinstance(seed, jax.Array) and jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key)
    if is_key and seed.shape == ():
        high, low = (int(part) for part in np.asarray(jax.random.key_data(seed)).ravel()[-2:])
        return (high << 32) | low
    if not _is_int(seed) or not 0 <= seed < 2**64:
        message = f"seed must be an integer from 0 to 2^64 - 1, a JAX key or None, got {seed!r}"
        raise RunError("E53", message)
    return int(seed)


def _iterations(maxit: Any, model: ImputationModel, events: EventLog) -> int:
    if maxit is not None:
        return _count(maxit, "E10", "maxit must be 0 or more", 0)
    passive = {rule.target for rule in model.rules}
    fed_back = any(term.column in passive for v in model.visits for term in v.random + v.fixed)
    if len({visit.targets for visit in model.visits}) == 1 and not fed_back:
        events.add("univariate", "a single column is imputed: one iteration is enough")
        return 1
    return 10


def _run(
    models: Sequence[ImputationModel],
    m: int,
    maxit: int | None,
    init: Any,
    seed: Any,
    device: Any,
    precision: str | None,
    chunk_chains: int | None,
    progress: Any,
    setup_seconds: float,
) -> list[ImputedData]:
    """Build the arrays, run the chains, and read the results."""
    events = EventLog()
    n_iterations = _iterations(maxit, models[0], events)
    began = time.perf_counter()
    if chunk_chains is not None and (not _is_int(chunk_chains) or chunk_chains < 1):
        raise RunError("E53", f"chunk_chains must be a positive integer, got {chunk_chains!r}")
    if not isinstance(progress, bool) and not callable(progress):
        raise RunError("E53", f"progress must be True, False or a function, got {progress!r}")
    prepared = make_problem(models, _starts(models, init))
    device, precision = resolve(device, precision)
    session = Session(
        prepared.problem,
        range(1, m + 1),
        _seed(seed),
        precision=precision,
        device=device,
        chunk_chains=chunk_chains,
        events=events,
    )
    seconds = {"setup": setup_seconds + time.perf_counter() - began}
    _advance(session, n_iterations, progress)
    return _results(models, prepared, session, seconds)


def _advance(session: Session, n_iterations: int, progress: Any) -> None:
    """Run iterations, with a bar if one is wanted."""
    if progress is True:
        from tqdm import tqdm

        with tqdm(total=n_iterations * len(session.problem.steps), unit="visit") as bar:

            def show(iteration: int, block: str) -> None:
                bar.set_postfix_str(f"iteration {iteration}, {block}", refresh=False)
                bar.update()

            done = session.advance(n_iterations, show)
    else:
        done = session.advance(n_iterations, progress or None)
    if not done:
        message = f"the run was interrupted after iteration {session.iteration}"
        session.events.add("interrupted", message, it=session.iteration)


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


def _results(
    models: Sequence[ImputationModel],
    prepared: Prepared,
    session: Session,
    seconds: dict[str, float],
) -> list[ImputedData]:
    """Bring draws and traces back to rows and units, one result per data set."""
    # A complete column of a block that is drawn together has nothing to report.
    wanted = {
        name
        for model in models
        for name, cells in zip(model.frame.columns, model.where.T, strict=True)
        if cells.any()
    }
    draws = {t: session.draws(t) for t in session.problem.targets if t in wanted}
    names = ("mean", "variance", "between", "within")
    raw = {t: {name: session.trace(t, name) for name in names} for t in draws}
    out = []
    for r, (model, blocks) in enumerate(zip(models, prepared.blocks, strict=True)):
        where = dict(zip(model.frame.columns, model.where.T, strict=True))
        cells: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        traces: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for target, drawn in draws.items():
            scale, column = prepared.scales[r][target], model.frame.columns[target]
            rows = np.flatnonzero(where[target])
            place = blocks.positions(rows)
            rows, place = rows[place >= 0], place[place >= 0]
            values = drawn[r].reshape(len(session.chains), -1)[:, place].T.astype(float)
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
            cells[target] = (rows, values)
            first = 1.0 if column.categories else 0.0
            for name in names:
                power, shift = (1, scale.location + first) if name == "mean" else (2, 0.0)
                with np.errstate(over="ignore"):
                    unit = np.float64(scale.scale) ** power
                    traces[name].append(raw[target][name][r] * unit + shift)
        recompute(model.rules, model.frame, model.ignore, cells)
        log = EventLog([*model.events, *session.events])
        shape = (0, session.iteration, len(session.chains))
        out.append(
            ImputedData(
                data=model.original,
                model=model,
                cells=cells,
                traces={k: np.stack(v) if v else np.zeros(shape) for k, v in traces.items()},
                chains=session.chains,
                iteration=session.iteration,
                info=_info(session, seconds),
                events=log,
                extend=_extender(models, prepared, session, r, seconds),
            )
        )
    return out


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


def _extender(
    models: Sequence[ImputationModel],
    prepared: Prepared,
    session: Session,
    replication: int,
    seconds: dict[str, float],
) -> Callable[[ImputedData, int, int, Any], ImputedData]:
    """Return what continues a run or adds imputations to it."""

    def extend(imp: ImputedData, more: int, further: int, progress: Any) -> ImputedData:
        events = EventLog(list(session.events))
        longer = session.copy(events)
        if further:
            extra = Session(
                prepared.problem,
                range(imp.m + 1, imp.m + further + 1),
                session.seed,
                precision=session.precision,
                device=session.device,
                chunk_chains=None,
                events=events,
            )
            _advance(extra, imp.iteration, progress)
            if extra.iteration != imp.iteration:
                raise RunError("E56", "interrupted before the further imputations were complete")
            longer.join(extra)
        if more:
            _advance(longer, more, progress)
        return _results(models, prepared, longer, seconds)[replication]

    return extend


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("jaxmice", "jax", "jaxlib", "numpy", "pandas")}


def _info(session: Session, seconds: dict[str, float]) -> dict[str, Any]:
    device = session.device or jax.devices()[0]
    return {
        "versions": dict(_versions()),
        "seed": session.seed,
        "rng": {
            "implementation": IMPLEMENTATION,
            "jax_threefry_partitionable": bool(
                getattr(jax.config, "jax_threefry_partitionable", True)
            ),
        },
        "precision": session.precision,
        "device": f"{device.platform}:{device.device_kind}",
        "seconds": {**seconds, "run": session.seconds},
    }
