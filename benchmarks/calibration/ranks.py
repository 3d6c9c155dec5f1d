"""Are ranks uniform? The statistic of Säilynoja, Bürkner and Vehtari (2022).

Statistics and Computing 32, 32: the smallest two-sided binomial probability of a cumulative
count, over all ranks. Its null distribution is computed exactly, by following the cumulative
counts from rank to rank inside the bounds that the statistic implies.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.special import gammaln


def ranks_of(
    truth: Float[np.ndarray, " N"], draws: Float[np.ndarray, "L N"], seed: int
) -> Int[np.ndarray, " N"]:
    """Return the rank of every truth among its draws, 0..L, ties broken at random."""
    below, same = np.sum(draws < truth, axis=0), np.sum(draws == truth, axis=0)
    return below + np.random.default_rng(seed).integers(0, same + 1)


def gamma_statistic(ranks: Int[np.ndarray, " N"], n_draws: int) -> float:
    """Return gamma: small where the ranks are not uniform on 0..n_draws."""
    n, cells = len(ranks), n_draws + 1
    count = np.cumsum(np.bincount(ranks, minlength=cells))[:-1]
    share = np.arange(1, cells) / cells
    below = stats.binom.cdf(count, n, share)
    above = stats.binom.sf(count - 1, n, share)
    return float(2 * np.min(np.minimum(below, above)))


def gamma_pvalue(gamma: float, n: int, n_draws: int) -> float:
    """Return the probability that gamma is as small as this for uniform ranks.

    Parameters
    ----------
    gamma
        The statistic.
    n
        Number of ranks.
    n_draws
        Largest rank.
    """
    cells = n_draws + 1
    if gamma < 1e-12:
        # The bound of Bonferroni; the bounds of the counts would be wide, and the answer 0.
        return n_draws * gamma
    share = np.arange(1, cells) / cells
    # Counts whose two tail probabilities both exceed gamma / 2; the margin is for equality.
    tail = gamma / 2 * (1 + 1e-9)
    low = np.maximum(stats.binom.ppf(tail, n, share), 0).astype(int)
    high = stats.binom.isf(tail, n, share).astype(int)
    log_factorial = gammaln(np.arange(n + 1) + 1)
    counts, mass = np.array([0]), np.array([1.0])
    for i in range(n_draws):
        chance = 1 / (cells - i)
        after = np.arange(low[i], high[i] + 1)
        more, left = after[:, None] - counts, n - counts
        ways = (
            log_factorial[left]
            - log_factorial[np.maximum(more, 0)]
            - log_factorial[np.maximum(left - more, 0)]
        )
        log_chance = ways + more * np.log(chance) + (left - more) * np.log1p(-chance)
        mass = np.where(more >= 0, np.exp(log_chance), 0) @ mass
        counts = after
    return float(np.clip(1 - np.sum(mass), 0, 1))


def effective_share(draws: Float[np.ndarray, "L N"]) -> float:
    """Return how many independent draws one of these is worth, pooled over N short chains.

    Autocorrelations are pooled over the chains, each with its own mean and variance, and
    summed while pairs of them stay positive (Geyer 1992, Statistical Science 7, 473-483).
    """
    L = len(draws)
    centred = draws - draws.mean(axis=0)
    size = centred.std(axis=0)
    white = (centred / np.where(size > 0, size, 1))[:, size > 0]
    if white.shape[1] == 0:
        return 1.0
    # The mean of a chain is estimated, which lowers every correlation by about 1 / L.
    lags = np.array([np.mean(white[lag:] * white[: L - lag]) for lag in range(L // 2)]) + 1 / L
    lags[0] = 1
    pairs = lags[0 : 2 * (len(lags) // 2) : 2] + lags[1 : 2 * (len(lags) // 2) : 2]
    stop = np.argmax(pairs < 0) if np.any(pairs < 0) else len(pairs)
    return float(min(1.0, 1 / max(2 * np.sum(pairs[:stop]) - 1, 1e-9)))
