"""From scores to probabilities whose mean is the share asked for, many groups at once.

A group is what one share is asked for: the candidates of a pattern in a replicate. Rows
are flat arrays of N (replicates times rows) with the number of their group, -1 for none.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from jaxmice.errors import AmputeError

Numbers = NDArray[np.float64]
Groups = NDArray[np.int64]

SHAPES: dict[str, Callable[[Numbers], Numbers]] = {
    "RIGHT": lambda s: s,
    "LEFT": lambda s: -s,
    "TAIL": lambda s: np.abs(s) - 0.75,
    "MID": lambda s: 0.75 - np.abs(s),
}
"""Log-odds by standardised score: which scores go missing most."""

FLAT = 1e-10
"""Standard deviation, relative to the largest value, below which a column is constant."""


def totals(group: Groups, values: Numbers | None, G: int) -> Numbers:
    """Return the (G,) sums of (N,) values by group, or the counts."""
    return np.bincount(group + 1, values, minlength=G + 1)[1:].astype(np.float64)


def standardise(x: Numbers, group: Groups, G: int) -> tuple[Numbers, NDArray[np.bool_]]:
    """Give values mean 0 and variance 1 in every group.

    Returns
    -------
    z
        (N,); 0 in groups without variation and outside of groups.
    constant
        (G,) whether a group has rows but no variation.
    """
    inside = group >= 0
    size = totals(group, None, G)
    mean = totals(group, x, G) / np.maximum(size, 1)
    z = np.where(inside, x - mean[group], 0.0)
    sd = np.sqrt(totals(group, z**2, G) / np.maximum(size, 1))
    constant = sd <= FLAT * np.abs(np.where(inside, x, 0.0)).max(initial=0.0)
    z = np.where(constant[group], 0.0, z / np.where(constant, 1.0, sd)[group])
    return z, constant & (size > 0)


def solve_shifts(log_odds: Numbers, group: Groups, share: Numbers) -> Numbers:
    """Find the shifts that make the mean probability of every group its share.

    Parameters
    ----------
    log_odds
        (N,) before the shift.
    group
        (N,) group of every row.
    share
        (G,) from 0 to 1.

    Returns
    -------
    numpy.ndarray
        (G,), infinite for shares of 0 and 1, 0 for groups without rows.

    Notes
    -----
    Newton steps inside a bracket that halves when a step would leave it. A group that
    has converged stays as it is, so that its result does not depend on the others.
    """
    G = len(share)
    rows = np.flatnonzero(group >= 0)
    h, g = log_odds[rows], group[rows]
    size = totals(g, None, G)
    low, high = np.full(G, np.inf), np.full(G, -np.inf)
    np.minimum.at(low, g, h)
    np.maximum.at(high, g, h)
    with np.errstate(divide="ignore"):
        wanted = logit(share)
    open_ = (size > 0) & np.isfinite(wanted)
    shift = np.where(size > 0, wanted, 0.0)
    # One common log-odds needs no search; between the extremes the shift is bracketed.
    low, high = np.where(open_, wanted - high, 0.0), np.where(open_, wanted - low, 0.0)
    shift[open_] = (low + high)[open_] / 2
    for _ in range(200):
        if not open_.any():
            break
        live = open_[g]
        p = expit(h[live] + shift[g[live]])
        miss = totals(g[live], p, G) / np.maximum(size, 1) - share
        slope = totals(g[live], p * (1 - p), G) / np.maximum(size, 1)
        low = np.where(open_ & (miss < 0), shift, low)
        high = np.where(open_ & (miss > 0), shift, high)
        step = shift - miss / np.maximum(slope, 1e-300)
        step = np.where((step > low) & (step < high), step, (low + high) / 2)
        open_ &= (np.abs(miss) > 1e-13) & (step != shift)
        shift = np.where(open_, step, shift)
    return shift


def probabilities(log_odds: Numbers, group: Groups, share: Numbers) -> tuple[Numbers, Numbers]:
    """Return the (N,) probabilities with mean `share` in every group, and the (G,) shifts."""
    shift = solve_shifts(log_odds, group, share)
    with np.errstate(invalid="ignore"):
        return np.where(group >= 0, expit(log_odds + shift[group]), 0.0), shift


def assign(uniforms: np.ndarray, freq: Numbers) -> np.ndarray:
    """Turn (R, n) uniforms into patterns, which have the frequencies `freq`."""
    edges = np.cumsum(freq)[:-1]
    return np.searchsorted(edges, uniforms, side="right")


def stepwise(scores: Numbers, share: float, odds: Numbers) -> Numbers:
    """Return probabilities in proportion to the odds of quantile groups, with mean `share`.

    What would be above 1 is 1, and the other groups take over the excess in proportion.

    Raises
    ------
    AmputeError
        E39: ties leave a quantile group empty.
    """
    cuts = np.quantile(scores, np.arange(1, len(odds)) / len(odds))
    group = np.searchsorted(cuts, scores, side="left")
    size = np.bincount(group, minlength=len(odds))
    if (size == 0).any():
        raise AmputeError(
            "E39",
            f"scores have too few distinct values for {len(odds)} groups; pass fewer odds, or "
            "cont=True",
        )
    p = np.zeros(len(odds))
    full = np.zeros(len(odds), dtype=bool)
    while not full.all():
        left = share * len(scores) - size[full].sum()
        p = np.where(full, 1.0, odds * left / max((size * odds)[~full].sum(), 1e-300))
        if not (p[~full] > 1).any():
            break
        full |= p > 1
    return p[group]


def sample_exactly(p: Numbers, k: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw k of J units with inclusion probabilities in proportion to p, capped at 1.

    Systematic sampling of the units in random order (Madow, 1949, On the theory of
    systematic sampling, II, Annals of Mathematical Statistics 20(3), 333-354).
    """
    chance = inclusion(p, k)
    order = rng.permutation(len(p))
    ends = np.cumsum(chance[order])
    ends[-1] = k
    # A unit is taken when its piece of the line holds a point of the grid u, u + 1, ...
    steps = np.ceil(np.concatenate([[0.0], ends]) - rng.random())
    steps[0] = 0.0
    taken = np.zeros(len(p), dtype=bool)
    taken[order] = np.diff(steps) > 0
    return taken


def inclusion(p: Numbers, k: int) -> Numbers:
    """Rescale probabilities to the sum k; what would be above 1 is 1."""
    certain = np.zeros(len(p), dtype=bool)
    while True:
        rest = np.where(certain, 0.0, p)
        chance = np.where(certain, 1.0, rest * (k - certain.sum()) / max(rest.sum(), 1e-300))
        if not (chance > 1).any():
            return chance
        certain |= chance > 1
