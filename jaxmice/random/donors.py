"""Donors of observed values: any of them, or one with a similar prediction."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

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
    ranked = jnp.where(is_donor, donor_predictions, jnp.inf)
    shuffle = uniforms(key, jnp.ones((), int), (n,), ranked.dtype) if exact_k else ranked
    d, _, v = jax.lax.sort((ranked, shuffle, values), num_keys=2)
    count = jnp.sum(is_donor)
    k = jnp.minimum(n_donors, count)
    place = jnp.searchsorted(d, predictions)
    window = place[:, None] + jnp.arange(-n_donors, n_donors)
    usable = (window >= 0) & (window < count)
    window = jnp.clip(window, 0, n - 1)
    distance = jnp.where(usable, jnp.abs(d[window] - predictions[:, None]), jnp.inf)
    u = uniforms(key, jnp.zeros((), int), (n,), values.dtype)
    if exact_k:
        nearest = jnp.take_along_axis(window, jnp.argsort(distance, axis=1), axis=1)
        pick = jnp.minimum((u * k).astype(int), k - 1)
        return v[jnp.take_along_axis(nearest, pick[:, None], axis=1)[:, 0]]
    radius = jnp.take_along_axis(jnp.sort(distance, axis=1), jnp.full((n, 1), k - 1), axis=1)[:, 0]
    radius = radius + 8 * jnp.finfo(d.dtype).eps * (radius + jnp.abs(predictions))
    first = jnp.searchsorted(d, predictions - radius, side="left")
    last = jnp.minimum(jnp.searchsorted(d, predictions + radius, side="right"), count)
    size = jnp.maximum(last - first, 1)
    return v[jnp.clip(first + jnp.minimum((u * size).astype(int), size - 1), 0, n - 1)]
