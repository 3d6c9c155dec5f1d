"""The front door: impute a data frame."""

import inspect
import secrets
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxmice.engine.precision import resolve
from jaxmice.errors import DataError, JaxMiceWarning, ModelError, RunError
from jaxmice.events import EventLog
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel, Suggestion, setup
from jaxmice.model.choice import computed_columns
from jaxmice.model.names import warn
from jaxmice.run import Run
from jaxmice.storage import Checkpoint
from jaxmice.wording import is_whole, near, some

HEAVY = 0.5
"""Share of imputed cells of a column that calls for many imputations."""

MANY = 20
"""Imputations that are many."""


def mice(
    data: Any = None,
    m: int = 5,
    method: Any = None,
    predictor_matrix: Any = None,
    *,
    cluster: Any = None,
    maxit: int | None = None,
    init: Any = "sample",
    model: ImputationModel | Suggestion | None = None,
    seed: Any = None,
    device: Any = None,
    precision: str | None = None,
    chunk_chains: int | None = None,
    progress: bool | Callable[[int, str], None] = False,
    checkpoint: Any = None,
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
        result holds starting values only. With 1 and ``visit_sequence="monotone"`` a column
        is predicted by complete columns and those visited before only, so that a monotone
        pattern needs no starting values (not with ``formulas``).
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
        Chains to run together; by default as many as fit into memory, and on a CPU those of
        a large run in equal parts at the same time, one on each core. It does not change the
        result.
    progress
        True shows a bar; a function is called with iteration and block.
    checkpoint
        File that keeps what was done, for `resume` if the run is broken off.
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

    Warns
    -----
    JaxMiceWarning
        W17: one pass in the order of a monotone pattern, which the holes do not have; W18:
        all imputations start from the same values; W33: fewer than 20 imputations of a
        column that is mostly missing.

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
    if isinstance(model, Suggestion):
        model = model.model
    if model is not None:
        if not isinstance(model, ImputationModel):
            raise ModelError(
                "E50", f"model= takes what setup() returns, got {type(model).__name__}"
            )
        given = [data is not None and "data", method is not None and "method"]
        given += [predictor_matrix is not None and "predictor_matrix", *setup_options]
        if clash := [name for name in [*given, cluster is not None and "cluster"] if name]:
            raise ModelError("E50", f"pass either model= or {', '.join(map(str, clash))}")
    else:
        check_names(mice, setup_options)
        model = setup(data, method, predictor_matrix, cluster=cluster, **setup_options)
    seconds = time.perf_counter() - began
    run, n_iterations = _begin(
        [model], m, maxit, init, seed, device, precision, chunk_chains, seconds
    )
    _warn_of_run(model, m, n_iterations, init)
    if not isinstance(progress, bool) and not callable(progress):
        raise RunError("E53", f"progress must be True, False or a function, got {progress!r}")
    if checkpoint is None:
        run.advance(n_iterations, progress)
    else:
        record = Checkpoint(run, checkpoint, n_iterations)
        run.advance(n_iterations, progress, record)
        record.write()
    imp = run.results()[0]
    imp.warn()
    return imp


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
    check_names(replicate, setup_options)
    if hasattr(frames, "columns"):
        raise DataError("E02", "replicate() needs a list of data sets, got one; pass [data]")
    if not frames:
        raise DataError("E02", "replicate() needs at least one data set")
    began = time.perf_counter()
    models = [setup(frame, method, predictor_matrix, **setup_options) for frame in frames]
    for number, model in enumerate(models[1:], 2):
        if _form(model) != _form(models[0]):
            message = (
                f"data set {number} is imputed differently from the first"
                f"{_difference(models[0], model)}; fix the model "
                "by method=, roles= or predictor_matrix=, or pass screen='off'"
            )
            raise ModelError("E55", message)
    seconds = time.perf_counter() - began
    return impute_models(models, m, maxit, seed, device, precision, chunk_chains, seconds)


def impute_models(
    models: Sequence[ImputationModel],
    m: Any,
    maxit: int | None,
    seed: Any,
    device: Any,
    precision: str | None,
    chunk_chains: int | None,
    setup_seconds: float = 0.0,
    *,
    same_streams: bool = False,
) -> list[ImputedData]:
    """Impute by several models of one form in one program, see `replicate`.

    Parameters
    ----------
    same_streams
        All models draw with the random numbers of the first.
    """
    m = _count(m, "E09", "m must be a positive integer", 1)
    run, n_iterations = _begin(
        models,
        m,
        maxit,
        "sample",
        seed,
        device,
        precision,
        chunk_chains,
        setup_seconds,
        same_streams,
    )
    run.advance(n_iterations)
    return run.results()


def _form(model: ImputationModel) -> Any:
    """Return what data sets that are imputed side by side must share."""
    functions = [(rule.target, rule.function) for rule in model.rules]
    steps = {name: (part.steps, part.link is None) for name, part in model.post.items()}
    return model.visits, functions, jax.tree.structure(steps)


def _difference(first: ImputationModel, other: ImputationModel) -> str:
    """Say in which columns two models differ, as far as their visits tell."""
    a, b = (
        {(visit.targets, visit.number): visit for visit in model.visits} for model in (first, other)
    )
    differ = [key[0] for key in {**a, **b} if a.get(key) != b.get(key)]
    columns = list(dict.fromkeys(name for targets in differ for name in targets))
    alone = [c for c in columns if (c in first.targets) != (c in other.targets)]
    if alone:
        return f": only one of them imputes {some(alone)}"
    return f": methods or predictors of {some(columns)} differ" if columns else ""


def check_names(caller: Callable[..., Any], setup_options: Mapping[str, Any]) -> None:
    """Refuse an argument that neither the caller nor `setup` knows."""
    known = [*inspect.signature(setup).parameters, *inspect.signature(caller).parameters]
    for name in setup_options:
        if name not in known:
            message = f"{caller.__name__}() got an unexpected argument {name!r}"
            raise TypeError(f"{message}; {near(name, known)}")


def _count(value: Any, code: str, message: str, least: int) -> int:
    if not is_whole(value, least):
        raise DataError(code, f"{message}, got {value!r}")
    return int(value)


def _one_pass(model: ImputationModel) -> ImputationModel:
    """Return the model in which no column is predicted by one that is visited later.

    Source: van Buuren S (2018), Flexible Imputation of Missing Data, section 4.3.
    """
    names, columns = list(model.frame.columns), [model.blocks[b] for b in model.visit_sequence]
    order = [names.index(name) for block in columns for name in block]
    missing = model.where[:, order]
    if (missing[:, :-1] > missing[:, 1:]).any():
        warn(
            "W17",
            "visit_sequence='monotone' with one iteration, but the pattern of holes is not "
            "monotone: what a column tells of those visited before it is not used; raise maxit",
        )
    matrix = model.predictor_matrix.copy()
    for place, block in enumerate(model.visit_sequence):
        later = {name for block in columns[place + 1 :] for name in block}
        for rule in model.rules:
            later |= {rule.target} if later & set(rule.ingredients) else set()
        matrix.loc[block, [name for name in matrix if name in later]] = 0
    if model.formulas or matrix.equals(model.predictor_matrix):
        return model
    with warnings.catch_warnings():
        # What there is to say about the data has been said.
        warnings.simplefilter("ignore", JaxMiceWarning)
        arguments = model.arguments | {"predictor_matrix": matrix, "roles": None}
        return setup(model.original, **arguments)


def _warn_of_run(model: ImputationModel, m: int, n_iterations: int, init: Any) -> None:
    """Warn of what a run cannot make up for afterwards."""
    if not isinstance(init, str) or init != "sample":
        if m > 1 and n_iterations > 1:
            warn(
                "W18",
                "all imputations start from the same values of init=: chains that have not "
                "moved far from them look as if they had converged; use init='sample', or look "
                "at traces and autocorrelation beside R-hat",
            )
    if m >= MANY or n_iterations == 0:
        return
    cells = dict(zip(model.frame.columns, model.where[~model.ignore].T, strict=True))
    computed = {*model.passive, *computed_columns(model.method, model.blocks)}
    heavy = [name for name in model.targets if cells[name].mean() > HEAVY and name not in computed]
    if heavy:
        warn(
            "W33",
            f"more than half of {some(heavy)} is imputed; m = {m} imputations leave much "
            f"simulation error, use m = {MANY} or more (see how_many_imputations)",
        )


def _seed(seed: Any) -> int:
    """Return the seed as a number below 2^64."""
    if seed is None:
        return secrets.randbits(64)
    is_key = isinstance(seed, jax.Array) and jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key)
    if isinstance(seed, jax.Array) and seed.dtype == np.uint32 and seed.shape == (2,):
        is_key, seed = True, jax.random.wrap_key_data(seed)
    if is_key and seed.shape == ():
        high, low = (int(part) for part in np.asarray(jax.random.key_data(seed)).ravel()[-2:])
        return (high << 32) | low
    if not is_whole(seed) or seed >= 2**64:
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


def _begin(
    models: Sequence[ImputationModel],
    m: int,
    maxit: int | None,
    init: Any,
    seed: Any,
    device: Any,
    precision: str | None,
    chunk_chains: int | None,
    setup_seconds: float,
    same_streams: bool = False,
) -> tuple[Run, int]:
    """Check the arguments of a run and begin it; also return its number of iterations."""
    events = EventLog()
    n_iterations = _iterations(maxit, models[0], events)
    if n_iterations == 1 and models[0].arguments["visit_sequence"] == "monotone":
        models = [_one_pass(model) for model in models]
    if chunk_chains is not None and not is_whole(chunk_chains, 1):
        raise RunError("E53", f"chunk_chains must be a positive integer, got {chunk_chains!r}")
    device, precision = resolve(device, precision)
    run = Run.begin(
        models,
        range(1, m + 1),
        init=init,
        seed=_seed(seed),
        precision=precision,
        device=device,
        chunk_chains=chunk_chains,
        events=events,
        setup_seconds=setup_seconds,
        same_streams=same_streams,
    )
    return run, n_iterations
