"""Which rows get scattered holes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.amputation._clusters import between
from jaxmice.amputation._input import clusters_in, score_columns
from jaxmice.amputation._scores import SHAPES, Numbers, assign, probabilities, standardise, totals
from jaxmice.amputation._streams import Streams
from jaxmice.amputation.layers import Sporadic, columns_of
from jaxmice.amputation.result import Draw
from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.wording import some

Bools = NDArray[np.bool_]
STREAM = 2
"""First number of the purposes of this layer."""


@dataclass(frozen=True)
class Guard:
    """What must be left: values per cluster, and clusters, of every amputed column."""

    min_obs: int
    min_clusters: int


@dataclass(frozen=True, eq=False)
class Pattern:
    """One pattern of scattered holes; n rows, J clusters, c amputed columns.

    Attributes
    ----------
    columns
        (c,) what it makes missing.
    score
        (n,) weighted sum of the terms whose weights are the same in all replicates.
    slopes
        (n,) columns whose weight deviates from cluster to cluster, with the standard
        deviation.
    share
        (1,) probability of a candidate, or (J,) one for each cluster.
    effect_sd
        Standard deviation of the cluster effect.
    """

    columns: Bools
    score: Numbers
    slopes: tuple[tuple[Numbers, float], ...]
    share: Numbers
    effect_sd: float
    shape: str
    strength: float
    weighted: bool


@dataclass(frozen=True, eq=False)
class ByRow:
    """K patterns that compete for the rows."""

    patterns: tuple[Pattern, ...]
    freq: Numbers
    columns: Bools
    codes: NDArray[np.int64]
    size: Numbers


def row_layers(frame: Frame, layers: Sequence[Sporadic], amputed: Sequence[str]) -> ByRow:
    """Compute what is the same in all replicates."""
    codes, _, J = clusters_in(frame)
    freq = np.array([1.0 if layer.freq is None else layer.freq for layer in layers], float)
    freq /= max(freq.sum(), 1e-300)
    patterns = [
        _pattern(frame, layer, k + 1, float(f), amputed)
        for k, (layer, f) in enumerate(zip(layers, freq, strict=True))
    ]
    columns = np.array([pattern.columns for pattern in patterns], dtype=bool)
    return ByRow(
        tuple(patterns),
        freq,
        columns.reshape(len(layers), len(amputed)),
        codes,
        totals(codes, None, J),
    )


def _pattern(frame: Frame, layer: Sporadic, k: int, freq: float, amputed: Sequence[str]) -> Pattern:
    codes, labels, J = clusters_in(frame)
    everywhere = np.zeros(frame.n, dtype=np.int64)
    size = totals(codes, None, J)
    terms: dict[str, Numbers] = {}
    for name, x in score_columns(frame, layer.within).items():
        terms[name] = standardise(x - (totals(codes, x, J) / size)[codes], everywhere, 1)[0]
    score = np.sum([w * terms[name] for name, w in layer.within.items()], axis=0)
    score = score + between(frame, layer.between)[codes]
    by_cluster = layer.weights_by_cluster
    plain = score_columns(frame, [*layer.weights, *(() if by_cluster is None else by_cluster)])
    for name, x in plain.items():
        z = standardise(x, everywhere, 1)[0]
        score = score + layer.weights.get(name, 0.0) * z
        if by_cluster is not None and name in by_cluster:
            what = f"sporadic {k}: weights_by_cluster[{name!r}]"
            score = score + _by_label(by_cluster[name], labels, what)[codes] * z
        terms.setdefault(name, z)
    if layer.prop_by_cluster is None:
        share = np.array([layer.prop])
    else:
        share = _by_label(layer.prop_by_cluster, labels, f"sporadic {k}: prop_by_cluster")
        if not ((share >= 0) & (share <= 1)).all():
            raise AmputeError("E57", f"sporadic {k}: prop_by_cluster must be shares from 0 to 1")
    if (share > freq * (1 + 1e-12)).any():
        raise AmputeError(
            "E37",
            f"sporadic {k}: asked for {share.max():.3g} of the rows, but only {freq:.3g} are "
            "candidates of this pattern; raise its freq or lower prop",
        )
    return Pattern(
        columns=np.array([name in columns_of(layer) for name in amputed]),
        score=score,
        slopes=tuple((terms[name], float(sd)) for name, sd in layer.weights_sd.items()),
        share=np.minimum(share / freq, 1.0),
        effect_sd=float(np.sqrt(layer.icc / (1 - layer.icc) * np.pi**2 / 3)),
        shape=layer.type,
        strength=layer.strength,
        weighted=bool(layer.row_columns or layer.cluster_columns),
    )


def draw_rows(
    plan: ByRow, streams: Streams, replicates: Sequence[int], lost: Bools, guard: Guard
) -> Draw:
    """Draw the holes of rows in the clusters that do not miss the columns altogether.

    Parameters
    ----------
    lost
        (R, J, c) whether a cluster misses a column altogether.
    """
    R, n = len(replicates), len(plan.codes)
    J = len(plan.size)
    candidate = np.full((R, n), -1)
    scores, prob = np.zeros((R, n)), np.zeros((R, n))
    effects, shifts, flat = [], [], []
    if plan.patterns:
        candidate = assign(streams.uniforms(replicates, STREAM, 0, 0, n=n), plan.freq)
    for k, pattern in enumerate(plan.patterns):
        mine = (candidate == k) & ~np.any(lost[..., pattern.columns], axis=-1)[:, plan.codes]
        candidate[(candidate == k) & ~mine] = -1
        effect = np.zeros((R, J))
        if pattern.effect_sd:
            effect = pattern.effect_sd * streams.normals(replicates, STREAM, k + 1, 0, n=J)
        raw = np.tile(pattern.score, (R, 1))
        for i, (z, sd) in enumerate(pattern.slopes):
            deviation = sd * streams.normals(replicates, STREAM, k + 1, i + 1, n=J)
            raw += deviation[:, plan.codes] * z
        replicate = np.arange(R)[:, None]
        score, constant = standardise(raw.ravel(), np.where(mine, replicate, -1).ravel(), R)
        log_odds = SHAPES[pattern.shape](pattern.strength * score)
        S = len(pattern.share)
        group = replicate * S + (plan.codes if S > 1 else 0)
        p, shift = probabilities(
            log_odds + effect[:, plan.codes].ravel(),
            np.where(mine, group, -1).ravel(),
            np.tile(pattern.share, R),
        )
        scores[mine], prob[mine] = score.reshape(R, n)[mine], p.reshape(R, n)[mine]
        effects.append(effect[0])
        shifts.append(np.broadcast_to(shift[:S], J))
        flat.append(pattern.weighted and bool(constant[0]))
    drawn = streams.uniforms(replicates, STREAM, 0, 1, n=n) < prob if plan.patterns else prob > 0
    hit = _guarded(plan, guard, drawn, candidate, prob, lost)
    mask = lost[:, plan.codes]
    if plan.patterns:
        mask |= hit[..., None] & plan.columns[candidate]
    return Draw(
        mask,
        candidate,
        scores,
        prob,
        {"effects": effects, "shifts": shifts, "flat": flat, "drawn": drawn[0], "hit": hit[0]},
    )


def _guarded(
    plan: ByRow, guard: Guard, drawn: Bools, candidate: np.ndarray, prob: Numbers, lost: Bools
) -> Bools:
    """Undo surplus holes, the least probable first."""
    hit = drawn.copy()
    R, J = len(hit), len(plan.size)
    group = np.arange(R)[:, None] * J + plan.codes
    for c in range(plan.columns.shape[1] if plan.patterns else 0):
        holes = hit & plan.columns[candidate, c]
        left = plan.size - totals(group[holes], None, R * J).reshape(R, J)
        need = np.broadcast_to(np.minimum(guard.min_obs, plan.size), (R, J))
        few = ((left > 0) & ~lost[..., c]).sum(axis=1) < guard.min_clusters
        need = np.where(few[:, None], np.maximum(need, 1), need)
        short = np.where(lost[..., c], 0, need - left).ravel()
        rows = np.flatnonzero(holes.ravel() & (short > 0)[group.ravel()])
        g = group.ravel()[rows]
        order = np.lexsort((prob.ravel()[rows], g))
        rank = np.arange(len(g)) - np.searchsorted(g[order], g[order])
        hit.ravel()[rows[order][rank < short[g[order]]]] = False
    return hit


def _by_label(given: Mapping[Any, float] | pd.Series, labels: Sequence[Any], what: str) -> Numbers:
    """Return (J,) numbers given by cluster label, one for every cluster."""
    table = dict(given)
    absent = [label for label in labels if label not in table]
    unknown = [label for label in table if label not in set(labels)]
    if absent or unknown:
        what_is_wrong = f"lacks clusters {some(absent)}" if absent else f"names {some(unknown)}"
        raise AmputeError("E57", f"{what} {what_is_wrong}; give one number for every cluster")
    values = np.array([table[label] for label in labels], dtype=float)
    if not np.isfinite(values).all():
        raise AmputeError("E57", f"{what} must be finite numbers")
    return values
