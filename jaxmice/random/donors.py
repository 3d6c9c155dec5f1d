"""Donors of observed values: any of them, or one with a similar prediction."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.random.bits import uniforms


def resample(
    u: Float[Array, "*n"], values: Float[Array, " d"], is_donor: Bool[Array, " d"]
) -> Float[Array, "*n"]:
    """Return for every uniform number the value of a donor, each equally likely.

    Parameters
    ----------
    u
        Uniforms on (0, 1).
    values
        What donors give.
    is_donor
        Rows that may give, at least one.
    """
    count = jnp.sum(is_donor)
    rank = jnp.minimum((u * count).astype(int), count - 1) + 1
    return values[jnp.searchsorted(jnp.cumsum(is_donor), rank)]


def draw_donors(
    key: Key[Array, ""],
    values: Float[Array, " n"],
    donor_predictions: Float[Array, " n"],
    predictions: Float[Array, " n"],
    is_donor: Bool[Array, " n"],
    n_donors: int,
    *,
    exact_k: bool = False,
) -> Float[Array, " n"]:
    """Return for every row the value of a donor with a similar prediction.

    Parameters
    ----------
    key
        Random key, consumed.
    values
        What donors give.
    donor_predictions, predictions
        Predictions of the rows as donors and as recipients.
    is_donor
        Rows that may give.
    n_donors
        Size k of the pool. All donors as near as the k-th nearest belong to it, so
        donors with equal predictions are equally likely for every recipient.
    exact_k
        Take exactly k donors after one shuffle of all of them: recipients with the same
        prediction then share their k donors, as in R's ``mice``.
    """
    n = values.shape[0]
    n_donors = min(n_donors, n)
    ranked = jnp.where(is_donor, donor_predictions, jnp.inf)
    shuffle = uniforms(key, jnp.ones((), int), (n,), ranked.dtype) if exact_k else ranked
    d, _, v = jax.lax.sort((ranked, shuffle, values), num_keys=2)
    count = jnp.sum(is_donor)
    k = jnp.minimum(n_donors, count)
    place = jnp.searchsorted(d, predictions)
    u = uniforms(key, jnp.zeros((), int), (n,), values.dtype)
    if exact_k:
        window = place[:, None] + jnp.arange(-n_donors, n_donors)
        usable = (window >= 0) & (window < count)
        window = jnp.clip(window, 0, n - 1)
        distance = jnp.where(usable, jnp.abs(d[window] - predictions[:, None]), jnp.inf)
        nearest = jnp.take_along_axis(window, jnp.argsort(distance, axis=1), axis=1)
        pick = jnp.minimum((u * k).astype(int), k - 1)
        return v[jnp.take_along_axis(nearest, pick[:, None], axis=1)[:, 0]]

    def donor(index: Int[Array, "n k"]) -> Float[Array, "n k"]:
        outside = jnp.where(index < 0, -jnp.inf, jnp.inf)
        found = d[jnp.clip(index, 0, n - 1)]
        return jnp.where((index >= 0) & (index < count), found, outside)

    def within(below: Int[Array, "n k"], above: Int[Array, "n k"], side: int) -> Int[Array, " n"]:
        """Count on one side the donors that are no further than their rivals on the other."""
        low, high = donor(below), donor(above)
        further = side * (low + high - 2 * predictions[:, None])
        # Equally far but for rounding.
        slack = 8 * jnp.finfo(d.dtype).eps * (jnp.abs(low) + jnp.abs(high))
        return jnp.sum(rank & (further <= jnp.where(jnp.isfinite(slack), slack, 0)), axis=1)

    # The i-th donor below is one of the k nearest if the (k - i + 1)-th above is no nearer.
    # Places decide, no distance: what is computed twice may differ in the last digit.
    i = jnp.arange(1, n_donors + 1)
    rank, at = i <= k, place[:, None]
    n_below = within(at - i, at + k - i, -1)
    n_above = within(at - (k - i + 1), at + i - 1, 1)
    least, most = (jnp.clip(p, 0, n - 1) for p in (place - n_below, place + n_above - 1))
    # Equal ones belong together.
    first = jnp.searchsorted(d, d[least], side="left")
    last = jnp.minimum(jnp.searchsorted(d, d[most], side="right"), count)
    size = jnp.maximum(last - first, 1)
    return v[jnp.clip(first + jnp.minimum((u * size).astype(int), size - 1), 0, n - 1)]
