"""Normal variates in an interval, exact however far out the interval lies."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

FAR = 10.0
"""Beyond so many standard deviations probabilities are kept as logarithms."""

MILLS = (-1.0, 2.5, -37 / 3, 353 / 4, -4081 / 5)
"""Series of ``log(x Q(x) / phi(x))`` in ``1 / x^2``; at 10 its error is below 1e-7."""


def normal_tail(u: Float[Array, "*n"], lower: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Return standard normal variates above a bound.

    Parameters
    ----------
    u
        Uniforms on (0, 1).
    lower
        Bound of each variate, possibly :math:`-\infty`.

    Notes
    -----
    The upper tail probability Q is inverted at :math:`u\,Q(l)`, which loses no digits
    where it is small. Where it would underflow, its logarithm is inverted instead.
    """
    near = -ndtri(u * upper_tail(lower))
    return jnp.maximum(jnp.where(lower < FAR, near, _far(jnp.log(u), lower)), lower)


def truncated_normals(
    u: Float[Array, "*n"], lower: Float[Array, "*n"], upper: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return standard normal variates between two bounds, ``lower < upper``.

    Inverts the tail on whose side the interval lies; see `normal_tail`.
    """
    flip, low, high = _outwards(lower, upper)
    q_high = upper_tail(high)
    near = -ndtri(q_high + u * (upper_tail(low) - q_high))
    share = jnp.exp(_log_ratio(low, high))
    x = jnp.where(low < FAR, near, _far(jnp.log(share + u * (1 - share)), low))
    x = jnp.clip(x, low, high)
    return jnp.where(flip, -x, x)


def log_interval(lower: Float[Array, "*n"], upper: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the log probability that a standard normal variate falls in an interval."""
    _, low, high = _outwards(lower, upper)
    near = jnp.log(upper_tail(low) - upper_tail(high))
    out = jnp.maximum(low, FAR)
    log_tail = -0.5 * out**2 - jnp.log(out) + _mills(out) - 0.5 * jnp.log(2 * jnp.pi)
    far = log_tail + jnp.log(-jnp.expm1(_log_ratio(low, high)))
    return jnp.where(low < FAR, near, far)


def upper_tail(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the probability of a standard normal variate above x."""
    return 0.5 * lax.erfc(x * 0.5**0.5)


def _outwards(
    lower: Float[Array, "*n"], upper: Float[Array, "*n"]
) -> tuple[Array, Float[Array, "*n"], Float[Array, "*n"]]:
    """Mirror intervals that lie below zero; return which, and the bounds."""
    flip = lower + upper < 0
    return flip, jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)


def _mills(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return ``log(x Q(x) / phi(x))`` for large x."""
    square = 1 / (x * x)
    total = jnp.zeros_like(x)
    for term in reversed(MILLS):
        total = (total + term) * square
    return total


def _log_ratio(low: Float[Array, "*n"], high: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return ``log Q(high) - log Q(low)`` for large bounds, without subtracting squares."""
    low, high = jnp.maximum(low, FAR), jnp.maximum(high, FAR)
    gap = high - low
    return -0.5 * gap * (high + low) - jnp.log(high / low) + _mills(high) - _mills(low)


def _far(log_u: Float[Array, "*n"], lower: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Solve ``log Q(x) = log Q(lower) + log_u`` for a bound beyond `FAR`.

    The start solves it with the leading term of log Q; its error falls below rounding in
    two Newton steps.
    """
    a = jnp.maximum(lower, FAR)
    gap = -2 * log_u / (a + jnp.sqrt(a * a - 2 * log_u))
    for _ in range(2):
        x = a + gap
        excess = _log_ratio(a, x) - log_u
        gap = gap + excess * x / (x * x + 1)
    return a + gap
