"""Normal variates in an interval, exact however far out the interval lies."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmice.random.logarithm import log

FAR = {"float32": 11.0, "float64": 36.0}
"""Beyond so many standard deviations, probabilities of the tail could underflow."""

CENTRE = (
    (
        3.3871328727963665,
        133.14166789178438,
        1971.5909503065513,
        13731.69376550946,
        45921.95393154987,
        67265.7709270087,
        33430.57558358813,
        2509.0809287301227,
    ),
    (
        1.0,
        42.31333070160091,
        687.187007492058,
        5394.196021424751,
        21213.794301586597,
        39307.89580009271,
        28729.085735721943,
        5226.495278852854,
    ),
)
TAIL = (
    (
        1.4234371107496835,
        4.630337846156546,
        5.769497221460691,
        3.6478483247632045,
        1.2704582524523684,
        0.2417807251774506,
        0.022723844989269184,
        0.0007745450142783414,
    ),
    (
        1.0,
        2.053191626637759,
        1.6763848301838038,
        0.6897673349851,
        0.14810397642748008,
        0.015198666563616457,
        0.0005475938084995345,
        1.0507500716444169e-09,
    ),
)
END = (
    (
        6.657904643501103,
        5.463784911164114,
        1.7848265399172913,
        0.29656057182850487,
        0.026532189526576124,
        0.0012426609473880784,
        2.7115555687434876e-05,
        2.0103343992922881e-07,
    ),
    (
        1.0,
        0.599832206555888,
        0.1369298809227358,
        0.014875361290850615,
        0.0007868691311456133,
        1.8463183175100548e-05,
        1.421511758316446e-07,
        2.0442631033899397e-15,
    ),
)
"""Rational functions of algorithm AS 241, numerators first, lowest powers first."""

MILLS = (-1.0, 2.5, -37 / 3, 353 / 4, -4081 / 5)
"""Series of ``log(x Q(x) / phi(x))`` in ``1 / x^2``; at 10 its error is below 1e-7."""


def normal_tail(u: Float[Array, "*n"], lower: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Return standard normal variates above a bound.

    Parameters
    ----------
    u
        Uniforms on (0, 1), in the precision to compute with: single precision is enough for
        a random number.
    lower
        Bound of each variate, possibly :math:`-\infty`. Its precision is that of the result.

    Notes
    -----
    The upper tail probability Q is inverted at :math:`u\,Q(l)`, which loses no digits
    where it is small. Where it would underflow, its logarithm is inverted instead.
    """
    # One logarithm for near and far: all of it is one elementwise program, which fuses.
    bound = lower.astype(u.dtype)
    p, far = u * upper_tail(bound), bound >= _limit(bound)
    depth = -log(jnp.where(far, u, jnp.minimum(p, 1 - p)))
    x = jnp.where(far, _far(depth, bound), _quantile(p, depth))
    return jnp.maximum(x.astype(lower.dtype), lower)


def truncated_normals(
    u: Float[Array, "*n"], lower: Float[Array, "*n"], upper: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return standard normal variates between two bounds, ``lower < upper``.

    Inverts the tail on whose side the interval lies; see `normal_tail`.
    """
    flip, low, high = _outwards(lower.astype(u.dtype), upper.astype(u.dtype))
    q_high = upper_tail(high)
    near = upper_quantile(q_high + u * (upper_tail(low) - q_high))

    def solve(u: Float[Array, "*n"], low: Float[Array, "*n"]) -> Float[Array, "*n"]:
        share = jnp.exp(_log_ratio(low, high))
        return _far(-jnp.log(share + u * (1 - share)), low)

    x = _beyond(near, u, low, solve)
    x = jnp.where(flip, -x, x).astype(lower.dtype)
    return jnp.clip(x, lower, upper)


def log_interval(lower: Float[Array, "*n"], upper: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the log probability that a standard normal variate falls in an interval."""
    _, low, high = _outwards(lower, upper)
    share = upper_tail(low) - upper_tail(high)
    near = log(jnp.maximum(share, float(jnp.finfo(share.dtype).tiny)))

    def solve(_: Float[Array, "*n"], low: Float[Array, "*n"]) -> Float[Array, "*n"]:
        out = jnp.maximum(low, _limit(low))
        log_tail = -0.5 * out**2 - jnp.log(out) + _mills(out) - 0.5 * jnp.log(2 * jnp.pi)
        return log_tail + jnp.log(-jnp.expm1(_log_ratio(low, high)))

    return _beyond(near, near, low, solve)


def upper_quantile(p: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the value above which a standard normal variate falls with probability p.

    Wichura (1988), Applied Statistics 37, 477-484, algorithm AS 241, to 1e-16. One
    logarithm and one division do for every p, about half the time of `ndtri`.
    """
    # A probability may round to one.
    least = float(jnp.finfo(p.dtype).tiny)
    return _quantile(p, -log(jnp.maximum(jnp.minimum(p, 1 - p), least)))


def _quantile(p: Float[Array, "*n"], depth: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the upper quantile of p, given minus the logarithm of p or 1 - p, the smaller."""
    q = 0.5 - p
    near = 0.180625 - q * q
    out = jnp.sqrt(depth)
    end = out > 5
    far = jnp.where(end, out - 5, out - 1.6)
    top, bottom = (
        jnp.where(
            near >= 0,
            _polynomial(CENTRE[i], near),
            jnp.where(end, _polynomial(END[i], far), _polynomial(TAIL[i], far)),
        )
        for i in (0, 1)
    )
    return jnp.where(near >= 0, q, jnp.sign(q)) * top / bottom


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def upper_tail(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the probability of a standard normal variate above x."""
    return 0.5 * lax.erfc(x * 0.5**0.5)


def _outwards(
    lower: Float[Array, "*n"], upper: Float[Array, "*n"]
) -> tuple[Array, Float[Array, "*n"], Float[Array, "*n"]]:
    """Mirror intervals that lie below zero; return which, and the bounds."""
    flip = lower + upper < 0
    return flip, jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)


def _beyond(
    near: Float[Array, "*n"],
    u: Float[Array, "*n"],
    lower: Float[Array, "*n"],
    solve: Callable[[Float[Array, "*n"], Float[Array, "*n"]], Float[Array, "*n"]],
) -> Float[Array, "*n"]:
    """Solve for the values whose bound is beyond `FAR`; the others are ``near``.

    ``solve`` is given the uniforms and the bounds.
    """
    far = lower >= _limit(lower)

    def replace(_: Int[Array, ""], x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.where(far, solve(x, jnp.where(far, lower, x)), x)

    # A loop of no turns where no bound is far, which is nearly always; what is read passes
    # through it, or XLA would take the work out of the loop.
    return lax.fori_loop(0, jnp.any(far).astype(int), replace, jnp.where(far, u, near))


def _mills(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return ``log(x Q(x) / phi(x))`` for large x."""
    square = 1 / (x * x)
    total = jnp.zeros_like(x)
    for term in reversed(MILLS):
        total = (total + term) * square
    return total


def _log_ratio(low: Float[Array, "*n"], high: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return ``log Q(high) - log Q(low)`` for large bounds, without subtracting squares."""
    low, high = (jnp.maximum(bound, _limit(bound)) for bound in (low, high))
    gap = high - low
    return -0.5 * gap * (high + low) - jnp.log(high / low) + _mills(high) - _mills(low)


def _far(depth: Float[Array, "*n"], lower: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Solve ``log Q(x) = log Q(lower) - depth`` for a bound beyond `FAR`.

    The quadratic expansion of log Q at the bound a, whose hazard is near ``a (a^2 + 3) / (a^2 +
    2)``, in one division and one root: what has more of them is not fused. The next term
    moves the logarithm of the law by less than 1e-4 where the chance of x or more is above one
    in a hundred, and by less than 1e-3 where it is above 1e-7 (float64: 1e-6).
    """
    a = jnp.maximum(lower, _limit(lower))
    square = a * a
    level = square + 3
    return a + 2 * depth * (square + 2) / (a * (level + jnp.sqrt(level * (level + 2 * depth))))


def _limit(x: Array) -> float:
    return FAR[x.dtype.name]
