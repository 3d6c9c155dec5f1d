"""Holes row by row, in patterns of columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.amputation._input import (
    MECHANISMS,
    check_choice,
    check_known,
    check_share,
    complete_frame,
    score_columns,
    warn_flat,
    with_holes,
)
from jaxmice.amputation._scores import (
    SHAPES,
    Numbers,
    assign,
    probabilities,
    standardise,
    stepwise,
    totals,
)
from jaxmice.amputation._streams import Streams
from jaxmice.amputation.result import AmputedData, Draw
from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.wording import some, warn_user


def ampute(
    data: pd.DataFrame,
    prop: float = 0.5,
    patterns: Any = None,
    freq: Sequence[float] | None = None,
    mech: str = "MAR",
    weights: Any = None,
    *,
    std: bool = True,
    cont: bool = True,
    type: str | Sequence[str] = "RIGHT",
    odds: Any = None,
    by_cases: bool = True,
    seed: int | None = None,
) -> AmputedData:
    r"""Make complete data incomplete.

    Every row becomes a candidate of one pattern and gets its holes with a probability that
    depends, by the mechanism, on nothing, on what stays, or on what goes missing.

    Parameters
    ----------
    data
        (n, p) complete frame.
    prop
        Expected share of rows with holes, or of missing cells; 0 to 1.
    patterns
        (K, p) 0 for what goes missing together, 1 for what stays: an array, or a frame,
        in which columns that all stay may be left out. By default one pattern for each
        column.
    freq
        (K,) relative frequency of the patterns; by default all equal.
    mech
        ``"MCAR"``, ``"MAR"`` or ``"MNAR"``.
    weights
        (K, p) weights of the columns in the score of each pattern, array or frame as
        `patterns`. By default 1 for all columns that stay (MAR) or for those that go
        missing (MNAR).
    std
        Standardise the columns over the candidates before they are weighted.
    cont
        The probability follows the score, or else jumps between its quantiles.
    type
        Which scores go missing most: ``"RIGHT"`` the high ones, ``"LEFT"`` the low ones,
        ``"TAIL"`` both, ``"MID"`` neither; one for all patterns or one for each.
    odds
        (K, groups) or (groups,): for ``cont=False``, relative odds of groups between
        equally spaced quantiles of the score, from low to high (`type` does not count);
        by default 1, 2, 3, 4.
    by_cases
        `prop` is a share of rows, or else of cells.
    seed
        Seed of the random numbers.

    Returns
    -------
    AmputedData
        The data with holes, and how they came about.

    Raises
    ------
    DataError
        `data` is no usable frame.
    AmputeError
        E12 (unknown column), E36 (a pattern without any column left under MAR), E37 (more
        cells asked for than the patterns have), E38 (under MAR, a weight on a column that
        goes missing), E39 (missing cells, or too few distinct scores), E57 (any other
        argument).

    Warns
    -----
    JaxMiceWarning
        W21 (categories in a score), W22 (a pattern without holes was removed), W23
        (constant scores).

    Notes
    -----
    With s the score, standardised over the candidates, the log-odds of a hole are s + b
    (RIGHT), -s + b (LEFT), \|s\| - 0.75 + b (TAIL) or 0.75 - \|s\| + b (MID). The shift b
    makes the mean probability over the candidates equal to the share asked for, so that
    it is met in expectation for any distribution of the scores. To reach a share of
    cells, the share of rows is ``prop * p / sum(freq * holes)``.

    References
    ----------
    Schouten, R. M., Lugtig, P., & Vink, G. (2018). Generating missing values for
    simulation purposes: a multivariate amputation procedure. Journal of Statistical
    Computation and Simulation, 88(15), 2909-2930.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.make_popular(seed=1).complete[["popular", "sex", "texp"]]
    >>> holes = jm.ampute(d, 0.3, patterns=[[0, 1, 1], [0, 0, 1]], seed=1)
    >>> holes.amp["texp"].isna().sum().item()
    0
    """
    frame = complete_frame(data)
    plan = _plan(frame, prop, patterns, freq, mech, weights, std, cont, type, odds, by_cases)
    streams = Streams.of(seed)

    draw = partial(_draw, plan, streams)
    first = draw([0])
    warn_flat(first.details["flat"], [f"pattern {k + 1}" for k in range(plan.K)])
    n, names = frame.n, list(frame.columns)
    where = np.zeros((n, len(names)), dtype=bool)
    where[:, plan.amputed] = first.mask[0]
    labels = pd.RangeIndex(1, plan.K + 1, name="pattern")
    index = frame.data.index
    return AmputedData(
        data=frame.data,
        amp=with_holes(frame.data, where),
        where=pd.DataFrame(where, index=index, columns=names),
        patterns=pd.DataFrame(plan.stays.astype(int), index=labels, columns=names),
        freq=pd.Series(plan.freq, index=labels, name="freq"),
        prop=pd.Series(plan.prop, index=labels, name="prop"),
        weights=pd.DataFrame(plan.weights, index=labels, columns=names),
        cand=pd.Series(first.candidate[0] + 1, index=index, name="cand"),
        scores=pd.Series(first.scores[0], index=index, name="score"),
        prob=pd.Series(first.prob[0], index=index, name="prob"),
        seed=streams.seed,
        amputed=tuple(np.array(names)[plan.amputed].tolist()),
        _frame=frame,
        _table=_realised(plan, first, labels),
        _draw=draw,
        _width=len(names),
    )


@dataclass(frozen=True, eq=False)
class _Plan:
    """Arguments made explicit; K patterns of p columns."""

    stays: np.ndarray
    freq: Numbers
    prop: float
    weights: Numbers
    shapes: tuple[str, ...]
    odds: Numbers | None
    std: bool
    values: dict[int, Numbers]
    n: int

    @property
    def K(self) -> int:
        return len(self.freq)

    @property
    def amputed(self) -> np.ndarray:
        """(p,) whether a pattern makes holes in the column."""
        return np.any(~self.stays, axis=0)


def _plan(
    frame: Frame,
    prop: float,
    patterns: Any,
    freq: Any,
    mech: str,
    weights: Any,
    std: bool,
    cont: bool,
    shapes: Any,
    odds: Any,
    by_cases: bool,
) -> _Plan:
    names = list(frame.columns)
    p = len(names)
    check_share(prop, "prop")
    check_choice(mech, MECHANISMS, "mech")
    given = np.ones((p, p)) - np.eye(p) if patterns is None else patterns
    stays = _table(given, frame, 1.0, "patterns")
    if not np.isin(stays, (0, 1)).all():
        raise AmputeError("E57", "patterns must be 0 (goes missing) and 1 (stays)")
    stays = stays == 1
    K = len(stays)
    shares = np.ones(K) if freq is None else np.asarray(freq, float)
    if shares.shape != (K,) or not (shares >= 0).all() or shares.sum() <= 0:
        raise AmputeError("E57", f"freq must be {K} numbers from 0, one for each pattern")
    shares = shares / shares.sum()
    kinds = [shapes] * K if isinstance(shapes, str) else list(shapes)
    if len(kinds) != K:
        raise AmputeError("E57", f"type must be one name or one for each of {K} patterns")
    for kind in kinds:
        check_choice(kind, tuple(SHAPES), "type")
    scores = _weights(frame, weights, stays, mech)
    steps = None if cont else _odds(odds, K)
    if cont and odds is not None:
        raise AmputeError("E57", "odds are for cont=False")

    idle = stays.all(axis=1)
    if idle.all():
        raise AmputeError("E57", "no pattern has a hole; set what goes missing to 0")
    if idle.any():
        warn_user(
            f"W22: pattern {some((np.flatnonzero(idle) + 1).tolist())} has no holes and was "
            f"removed; its rows stay complete"
        )
        prop *= 1 - shares[idle].sum()
        shares = shares[~idle] / shares[~idle].sum()
        stays, scores = stays[~idle], scores[~idle]
        kinds = [kind for kind, drop in zip(kinds, idle, strict=True) if not drop]
        steps = None if steps is None else steps[~idle]
    if not by_cases:
        holes = float(shares @ (~stays).sum(axis=1))
        most = holes / p
        if prop > most * (1 + 1e-12):
            raise AmputeError(
                "E37", f"asked for {prop:.3g} of cells; at most {most:.3g} with these patterns"
            )
        prop = min(1.0, prop * p / holes)
    used = np.flatnonzero(scores.any(axis=0))
    values = score_columns(frame, [names[v] for v in used])
    return _Plan(
        stays,
        shares,
        float(prop),
        scores,
        tuple(kinds),
        steps,
        std,
        {int(v): values[names[v]] for v in used},
        frame.n,
    )


def _table(given: Any, frame: Frame, fill: float, what: str) -> Numbers:
    """Read a (K, p) table; a frame may leave out columns."""
    p = len(frame.columns)
    if isinstance(given, pd.DataFrame):
        check_known(given.columns, frame, what)
        given = given.reindex(columns=list(frame.columns), fill_value=fill)
    table = np.atleast_2d(np.asarray(given, dtype=float))
    if table.ndim != 2 or table.shape[1] != p or not len(table) or not np.isfinite(table).all():
        raise AmputeError("E57", f"{what} must be a table of numbers with {p} columns")
    return table


def _weights(frame: Frame, weights: Any, stays: np.ndarray, mech: str) -> Numbers:
    """Read the weights of the scores and check them against the mechanism."""
    if mech == "MCAR":
        if weights is not None:
            raise AmputeError("E57", "weights have no meaning under MCAR; choose MAR or MNAR")
        return np.zeros(stays.shape)
    empty = np.flatnonzero(~stays.any(axis=1)) + 1
    if mech == "MAR" and empty.size:
        raise AmputeError(
            "E36",
            f"pattern {some(empty.tolist())} makes every column missing; impossible under MAR",
        )
    if weights is None:
        usable = np.array([column.kind != "id" for column in frame.columns.values()])
        return np.where(usable, stays if mech == "MAR" else ~stays, 0.0)
    table = _table(weights, frame, 0.0, "weights")
    if table.shape != stays.shape:
        raise AmputeError(
            "E57", f"weights has {len(table)} rows; need one for each of {len(stays)} patterns"
        )
    wrong = (table != 0) & ~stays
    if mech == "MAR" and wrong.any():
        k, v = np.argwhere(wrong)[0]
        raise AmputeError(
            "E38",
            f"pattern {k + 1}: weight on {list(frame.columns)[v]!r}, which is amputed, makes it "
            "MNAR; set it to 0 or choose mech='MNAR'",
        )
    return table


def _odds(odds: Any, K: int) -> Numbers:
    table = np.asarray([1, 2, 3, 4] if odds is None else odds, dtype=float)
    table = np.broadcast_to(table, (K, table.shape[-1])) if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != K or not (table >= 0).all() or not table.any(axis=1).all():
        raise AmputeError("E57", f"odds must be numbers from 0, one row for each of {K} patterns")
    return table


def _draw(plan: _Plan, streams: Streams, replicates: Sequence[int]) -> Draw:
    n, K, R = plan.n, plan.K, len(replicates)
    candidate = assign(streams.uniforms(replicates, 0, n=n), plan.freq)
    group = (candidate + K * np.arange(R)[:, None]).ravel()
    pattern = candidate.ravel()
    scores = np.zeros(R * n)
    for v, column in plan.values.items():
        x = np.tile(column, R)
        z = standardise(x, group, R * K)[0] if plan.std else x
        scores += plan.weights[pattern, v] * z
    scores, flat = standardise(scores, group, R * K)
    share = np.full(R * K, plan.prop)
    if plan.odds is None:
        log_odds = shaped(scores, pattern, plan.shapes)
        prob, _ = probabilities(log_odds, group, share)
    else:
        prob = share[group]
        for g in np.flatnonzero((totals(group, None, R * K) > 0) & ~flat):
            rows = group == g
            prob[rows] = stepwise(scores[rows], plan.prop, plan.odds[g % K])
    hit = streams.uniforms(replicates, 1, n=n) < prob.reshape(R, n)
    mask = hit[..., None] & ~plan.stays[:, plan.amputed][candidate]
    # Without any weight, constant scores are what was asked for.
    weighted = np.tile(plan.weights.any(axis=1), R)
    return Draw(
        mask,
        candidate,
        scores.reshape(R, n),
        prob.reshape(R, n),
        {"flat": (flat & weighted)[:K], "hit": hit},
    )


def shaped(scores: Numbers, pattern: np.ndarray, shapes: Sequence[str]) -> Numbers:
    """Return the log-odds, before the shift, of rows by the type of their pattern."""
    out = np.zeros(len(scores))
    for kind in set(shapes):
        rows = np.isin(pattern, [k for k, shape in enumerate(shapes) if shape == kind])
        out[rows] = SHAPES[kind](scores[rows])
    return out


def _realised(plan: _Plan, first: Draw, labels: pd.Index) -> pd.DataFrame:
    candidate = first.candidate[0]
    count = totals(candidate, None, plan.K)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "unit": "row",
                "candidates": count.astype(int),
                "asked": plan.prop,
                "expected": totals(candidate, first.prob[0], plan.K) / count,
                "obtained": totals(candidate, first.details["hit"][0], plan.K) / count,
            },
            index=labels,
        )
