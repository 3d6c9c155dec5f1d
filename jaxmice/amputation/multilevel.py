"""Holes in clustered data: layers of whole clusters, then scattered rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.amputation._checks import check_layers, names_of
from jaxmice.amputation._clusters import ByCluster, cluster_layers, draw_clusters, holes_in
from jaxmice.amputation._input import clusters_in, complete_frame, warn_flat, with_holes
from jaxmice.amputation._rows import ByRow, Guard, draw_rows, row_layers
from jaxmice.amputation._scores import totals
from jaxmice.amputation._streams import Streams
from jaxmice.amputation.layers import Layer, Level2, Sporadic, Systematic, columns_of
from jaxmice.amputation.result import Draw, MultilevelAmputedData
from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.wording import is_whole


def multilevel_ampute(
    data: pd.DataFrame,
    cluster: str,
    sporadic: Sporadic | Sequence[Sporadic] | None = None,
    systematic: Systematic | Sequence[Systematic] | None = None,
    level2: Level2 | Sequence[Level2] | None = None,
    *,
    min_obs: int = 0,
    min_clusters_observed: int = 2,
    exact: bool = False,
    allow_inconsistent: bool = False,
    seed: int | None = None,
) -> MultilevelAmputedData:
    """Make complete clustered data incomplete.

    First columns go missing for whole clusters, then values of clusters, then scattered
    cells of the clusters that are left.

    Parameters
    ----------
    data
        (n, p) complete frame.
    cluster
        Its cluster column.
    sporadic
        Scattered holes. Of several patterns, every row is a candidate of one.
    systematic
        Columns missing in whole clusters.
    level2
        Holes in columns that are constant in clusters.
    min_obs
        So many values of every amputed column stay in every cluster that is not missing it
        altogether (or all, in smaller clusters). Surplus holes are undone, the least
        probable first.
    min_clusters_observed
        So many clusters keep values of every amputed column; further holes are undone
        likewise.
    exact
        Draw exactly the asked share of clusters (rounded to a whole number), not only in
        expectation.
    allow_inconsistent
        Allow scattered holes in a column that is constant in clusters, which another row
        then gives away.
    seed
        Seed of the random numbers; every layer has streams of its own.

    Returns
    -------
    MultilevelAmputedData
        The data with holes, and how they came about.

    Raises
    ------
    DataError
        `data` or `cluster` cannot be used.
    AmputeError
        E12 (unknown column), E14 (a column of `level2` that varies in clusters), E20 (a
        column that is constant in clusters among the scattered ones), E37 (a share that a
        pattern's candidates cannot reach), E38 (under MAR, a weight on what goes
        missing), E39 (missing cells), E40 (fewer clusters left than
        `min_clusters_observed`), E57 (any other argument).

    Warns
    -----
    JaxMiceWarning
        W21 (categories in a score), W23 (constant scores).

    Notes
    -----
    MAR means that a probability depends on nothing that is missing: weights on the value
    of a row go to columns that no pattern of this row, and no layer of whole clusters,
    makes missing; cluster means, and with them centred values, are of columns that no
    layer makes missing. Anything else is E38 unless declared MNAR.

    References
    ----------
    Schouten, R. M., Lugtig, P., & Vink, G. (2018). Generating missing values for
    simulation purposes: a multivariate amputation procedure. Journal of Statistical
    Computation and Simulation, 88(15), 2909-2930. (For rows; clusters are an extension.)

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.make_popular(J=40, n_j=10, seed=1).complete
    >>> holes = jm.multilevel_ampute(
    ...     d, "school",
    ...     sporadic=jm.Sporadic("popular", 0.3, within={"teachpop": 1}, icc=0.2),
    ...     systematic=jm.Systematic("sex", n_clusters=5),
    ...     level2=jm.Level2("texp", 0.2),
    ...     seed=1,
    ... )
    >>> jm.cluster_missing(holes.amp, "school").summary["systematic"]["sex"].item()
    5
    """
    frame = complete_frame(data, cluster)
    layers = [*_listed(systematic, Systematic), *_listed(level2, Level2)]
    scattered = _listed(sporadic, Sporadic)
    if not layers and not scattered:
        raise AmputeError("E57", "nothing to do: pass sporadic, systematic or level2")
    least = _count(min_clusters_observed, "min_clusters_observed")
    guard = Guard(_count(min_obs, "min_obs"), least)
    check_layers(frame, layers, scattered, allow_inconsistent)

    lost = {name for layer in [*layers, *scattered] for name in columns_of(layer)}
    amputed = tuple(name for name in frame.columns if name in lost)
    whole = cluster_layers(frame, layers, amputed, exact, least)
    rows = row_layers(frame, scattered, amputed)
    streams = Streams.of(seed)

    draw = partial(_draw, whole, rows, streams, least, guard)
    first = draw([0])
    warn_flat([*whole.flat, *first.details["flat"]], names_of([*layers, *scattered]))
    where = np.zeros((frame.n, len(frame.columns)), dtype=bool)
    where[:, [list(frame.columns).index(name) for name in amputed]] = first.mask[0]
    index, columns = frame.data.index, list(frame.columns)
    labels = pd.Index(names_of([*layers, *scattered]), name="pattern")
    names = np.array([*labels[len(layers) :], None], dtype=object)
    table = _realised(whole, rows, first, labels)
    return MultilevelAmputedData(
        data=frame.data,
        amp=with_holes(frame.data, where),
        where=pd.DataFrame(where, index=index, columns=columns),
        patterns=_patterns([*layers, *scattered], labels, columns),
        freq=pd.Series([*np.ones(len(layers)), *rows.freq], index=labels, name="freq"),
        prop=table["asked"].rename("prop"),
        weights=_weights([*layers, *scattered], labels),
        cand=pd.Series(names[first.candidate[0]], index=index, name="cand"),
        scores=pd.Series(first.scores[0], index=index, name="score"),
        prob=pd.Series(first.prob[0], index=index, name="prob"),
        seed=streams.seed,
        amputed=amputed,
        cluster=cluster,
        cluster_table=_by_cluster(frame, cluster, amputed, whole, rows, first, labels),
        _frame=frame,
        _table=table,
        _draw=draw,
        _width=len(amputed) + 2,
    )


def _draw(
    whole: ByCluster,
    rows: ByRow,
    streams: Streams,
    least: int,
    guard: Guard,
    replicates: Sequence[int],
) -> Draw:
    """Draw holes of whole clusters, then scattered ones in what is left."""
    drawn, taken = draw_clusters(whole, streams, replicates, least)
    out = draw_rows(rows, streams, replicates, holes_in(whole, taken), guard)
    out.details.update(taken=taken[0], undone=(drawn & ~taken)[0].sum(axis=-1))
    return out


def _realised(whole: ByCluster, rows: ByRow, first: Draw, labels: pd.Index) -> pd.DataFrame:
    """Compare what was asked for with the first replicate."""
    J = len(rows.size)
    by_layer = zip(whole.prob, first.details["taken"], first.details["undone"], strict=True)
    out = [("cluster", J, p.mean(), p.mean(), took.mean(), back) for p, took, back in by_layer]
    for k, pattern in enumerate(rows.patterns):
        mine = first.candidate[0] == k
        n = max(int(mine.sum()), 1)
        asked = np.broadcast_to(pattern.share, J)[rows.codes][mine].sum() / n
        hit, drawn = first.details["hit"][mine].sum(), first.details["drawn"][mine].sum()
        out.append(("row", mine.sum(), asked, first.prob[0][mine].sum() / n, hit / n, drawn - hit))
    names = ["unit", "candidates", "asked", "expected", "obtained", "undone"]
    return pd.DataFrame(out, index=labels, columns=names)


def _patterns(layers: Sequence[Layer], labels: pd.Index, columns: list[str]) -> pd.DataFrame:
    stays = [[int(name not in columns_of(layer)) for name in columns] for layer in layers]
    return pd.DataFrame(stays, index=labels, columns=columns)


def _weights(layers: Sequence[Layer], labels: pd.Index) -> pd.DataFrame:
    """Tabulate the weights that hold for all clusters."""
    rows = []
    for layer in layers:
        row = {f"between({name})": w for name, w in layer.between.items()}
        if isinstance(layer, Sporadic):
            row |= {f"within({name})": w for name, w in layer.within.items()}
            row |= dict(layer.weights)
        rows.append(row)
    return pd.DataFrame(rows, index=labels, dtype=float).fillna(0.0)


def _by_cluster(
    frame: Frame,
    cluster: str,
    amputed: tuple[str, ...],
    whole: ByCluster,
    rows: ByRow,
    first: Draw,
    labels: pd.Index,
) -> pd.DataFrame:
    """Describe the first replicate cluster by cluster."""
    codes, names, J = clusters_in(frame)
    lost = holes_in(whole, first.details["taken"][None])[0]
    table: dict[tuple[str, str], Any] = {("size", ""): rows.size.astype(int)}
    for c, name in enumerate(amputed):
        mine = rows.columns[first.candidate[0], c] if rows.patterns else np.zeros(frame.n)
        mean = totals(codes, first.prob[0] * mine, J) / rows.size
        table[name, "intended"] = np.where(lost[:, c], 1.0, mean)
        table[name, "realised"] = totals(codes, first.mask[0, :, c], J) / rows.size
        table[name, "systematic"] = lost[:, c]
    for i, label in enumerate(labels):
        k = i - len(whole.prob)
        if k < 0:
            table[label, "prob"] = whole.prob[i]
        else:
            table[label, "u"] = first.details["effects"][k]
            table[label, "shift"] = first.details["shifts"][k]
    return pd.DataFrame(table, index=pd.Index(names, name=cluster))


def _listed(given: Any, kind: type) -> list[Any]:
    layers = [] if given is None else [given] if isinstance(given, kind) else given
    if not isinstance(layers, (list, tuple)) or not all(type(x) is kind for x in layers):
        raise AmputeError("E57", f"expected one or a list of {kind.__name__}, got {given!r}")
    return list(layers)


def _count(value: Any, what: str) -> int:
    if not is_whole(value):
        raise AmputeError("E57", f"{what} must be an integer from 0, got {value!r}")
    return int(value)
