"""How much results depend on what cannot be known: values missing not at random."""

import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jaxmice.engine.precision import platform, resolve
from jaxmice.errors import DataError, JaxMiceWarning, ModelError
from jaxmice.imputed import ImputedData
from jaxmice.mice import check_names, impute_models
from jaxmice.model import ImputationModel, setup
from jaxmice.pooling import pool
from jaxmice.post import delta as shift_by, is_number
from jaxmice.wording import near


@dataclass(frozen=True, repr=False)
class DeltaAdjustment:
    """Imputations under several shifts of one column.

    Attributes
    ----------
    target
        The column.
    deltas
        The shifts, in the order in which they were given.
    imputations
        For every shift its imputations.
    """

    target: str
    deltas: tuple[float, ...]
    imputations: tuple[ImputedData, ...]

    def imputed(self, delta: float) -> ImputedData:
        """Return the imputations under one of the shifts.

        Raises
        ------
        DataError
            E54: no such shift.
        """
        if delta not in self.deltas:
            raise DataError("E54", f"no imputations for delta {delta!r}; there is {self._grid()}")
        return self.imputations[self.deltas.index(delta)]

    def estimate(self, model: Any, *, level: float = 0.95, **options: Any) -> pd.DataFrame:
        """Fit an analysis model under every shift and pool each by Rubin's rules.

        Parameters
        ----------
        model
            Formula or function for `analyze`.
        level
            Level of the intervals.
        **options
            Further arguments of `analyze`, such as ``engine``.

        Returns
        -------
        pandas.DataFrame
            ``delta`` and the columns of the summary of pooled results, a row per shift and
            term; see `plots.plot_sensitivity`.
        """
        parts = []
        for delta, imp in zip(self.deltas, self.imputations, strict=True):
            table = pool(imp.analyze(model, **options)).summary(level=level)
            table.insert(0, "delta", delta)
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def _grid(self) -> str:
        return ", ".join(f"{delta:g}" for delta in self.deltas)

    def __repr__(self) -> str:
        m = self.imputations[0].m
        return f"DeltaAdjustment: {self.target!r} moved by {self._grid()}, m = {m} each"


def delta_adjustment(
    data: pd.DataFrame,
    cluster: Any = None,
    *,
    target: str,
    deltas: Sequence[float],
    by: Sequence[Any] | Mapping[Any, float] | None = None,
    where: str | None = None,
    m: int = 5,
    method: Any = None,
    predictor_matrix: Any = None,
    post: Mapping[str, Any] | None = None,
    maxit: int | None = None,
    seed: Any = None,
    device: Any = None,
    precision: str | None = None,
    chunk_chains: int | None = None,
    together: bool | None = None,
    **setup_options: Any,
) -> DeltaAdjustment:
    """Impute under a grid of shifts of one column: sensitivity to values missing not at random.

    The imputed values of the target differ from those under missingness at random by the
    shift, see `post.delta`. A number is moved in its own units. A category, or a count of a
    method for counts, is drawn with its *linear predictor* moved: for ``logreg`` by
    log odds, so that the odds of the second category given all other columns are multiplied
    by ``exp(delta)``; for ``2l.bin`` by probits. The shift is part of the chain: columns
    imputed from the target follow it.

    All shifts use the same random numbers, so that results differ by the shift only. Shift 0
    is `mice` under the same seed.

    Parameters
    ----------
    data, cluster
        As for `mice`.
    target
        The column to shift.
    deltas
        The shifts.
    by
        Clusters in which the target is shifted, or a factor of the shift for some clusters,
        such as ``{3: 1, 7: 0.5}``; others are imputed as missing at random. By default all
        clusters are shifted.
    where
        Condition for the cells to shift, see `post.delta`.
    m, method, predictor_matrix, maxit, seed, device, precision, chunk_chains
        As for `mice`.
    post
        As for `mice`; what it says of the target comes after the shift.
    together
        True: the shifts are an axis of one program. False: one after another, by the program of
        a run without shifts, and shift 0 is that run to the last bit. None: together on an
        accelerator, to keep more of it busy; one after another on a CPU, where an axis saves
        no time and compiles anew.
    **setup_options
        Every other argument of `setup`.

    Returns
    -------
    DeltaAdjustment
        Imputations by shift.

    Raises
    ------
    ModelError
        E27: the target is not imputed. E51: shifts or clusters that cannot be used, or a
        method that draws without a linear predictor.

    References
    ----------
    van Buuren S, Boshuizen HC, Knook DL (1999). Multiple imputation of missing blood pressure
    covariates in survival analysis. Statistics in Medicine 18, 681-694, section 5.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> shifted = jm.delta_adjustment(d, "school", target="popular", deltas=[-0.5, 0, 0.5],
    ...                               method={"popular": "2l.pan"}, m=2, seed=1)
    >>> shifted
    DeltaAdjustment: 'popular' moved by -0.5, 0, 0.5, m = 2 each
    >>> lower, same = (shifted.imputed(delta).imp["popular"] for delta in (-0.5, 0))
    >>> float((lower - same).mean().mean().round(6))
    -0.5
    >>> table = shifted.estimate("popular ~ sex + (1 | school)")
    >>> table.loc[table["term"] == "Intercept", "estimate"].is_monotonic_increasing
    True
    """
    check_names(delta_adjustment, setup_options)
    grid = _grid(deltas)
    device, precision = resolve(device, precision)
    if together is None:
        together = platform(device) != "cpu"
    shared = {"cluster": cluster, **setup_options}
    plain = setup(data, method, predictor_matrix, post=post, **shared)
    if target not in plain.targets:
        raise ModelError("E27", f"target {target!r} is not imputed; {near(target, plain.targets)}")
    further = (post or {}).get(target, [])
    further = list(further) if isinstance(further, list | tuple) else [further]

    def shifted(delta: float) -> ImputationModel:
        steps = [shift_by(_by_cluster(delta, by), where=where), *further]
        with warnings.catch_warnings():
            # What there is to say about the data was said of the plain model.
            warnings.simplefilter("ignore", JaxMiceWarning)
            changed = {**(post or {}), target: steps}
            return setup(data, method, predictor_matrix, post=changed, **shared)

    models = [shifted(delta) for delta in grid]
    if not together:
        models = [model if delta else plain for model, delta in zip(models, grid, strict=True)]
    seed = secrets.randbits(64) if seed is None else seed
    results: list[ImputedData] = []
    for part in [models] if together else [[model] for model in models]:
        results += impute_models(
            part, m, maxit, seed, device, precision, chunk_chains, same_streams=True
        )
    results[0].warn()
    return DeltaAdjustment(target, grid, tuple(results))


def _grid(deltas: Any) -> tuple[float, ...]:
    given = [] if isinstance(deltas, str) or not hasattr(deltas, "__iter__") else list(deltas)
    usable = [is_number(delta) for delta in given]
    if not given or not all(usable) or len(set(given)) < len(given):
        message = f"deltas must be different finite numbers, got {deltas!r}"
        raise ModelError("E51", message)
    return tuple(map(float, given))


def _by_cluster(delta: float, by: Any) -> float | dict[Any, float]:
    """Return a shift as `post.delta` takes it."""
    if by is None:
        return delta
    if isinstance(by, str) or not hasattr(by, "__iter__"):
        message = f"by must be a list of clusters or a dict of factors by cluster, got {by!r}"
        raise ModelError("E51", message)
    factors = by if isinstance(by, Mapping) else dict.fromkeys(by, 1.0)
    wrong = [factor for factor in factors.values() if not is_number(factor)]
    if not factors or wrong:
        message = f"by must name clusters, with a finite number each, got {by!r}"
        raise ModelError("E51", message)
    return {label: delta * float(factor) for label, factor in factors.items()}
