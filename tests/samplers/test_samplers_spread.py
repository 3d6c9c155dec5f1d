"""The spread of the residual precisions: its exact density, and the draw from it."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxmice.random import uniforms
from jaxmice.samplers import linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import Sums
from tests.statistics import FALSE_ALARM_RATE, adjusted_pvalue, cdf_on_grid

pytestmark = pytest.mark.usefixtures("double_precision")

PRIORS = {
    "hw": (1.5, 0.5, 0.0, 0.0, 0.0, 0.0),
    "kr": (2.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "proper": (1.0, 0.0, 0.3, 4.0, 6.0, 5.0),
}
BERNOULLI = ("1/6", "-1/30", "1/42", "-1/30", "5/66", "-691/2730", "7/6", "-3617/510")


def log_gamma_function(x: Decimal) -> Decimal:
    """Return log Gamma(x) to forty digits: Stirling's series far out, and the recurrence."""
    product = Decimal(1)
    while x < 400:
        product, x = product * x, x + 1
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582")
    out = (x - Decimal("0.5")) * x.ln() - x + (2 * pi).ln() / 2 - product.ln()
    for k, fraction in enumerate(BERNOULLI, start=1):
        top, bottom = fraction.split("/")
        out += Decimal(top) / Decimal(bottom) / (2 * k * (2 * k - 1)) / x ** (2 * k - 1)
    return out


def exact_log_density(
    log_a: float, J: int, mean: float, gap: float, prior: tuple[float, ...]
) -> Decimal:
    """Return the density by its definition, in fifty digits.

    ``prod_j Gamma(nu_j; a, a s0) p(s0)`` integrated over s0, the prior of a and the
    Jacobian of log a.
    """
    with localcontext() as context:
        context.prec = 50
        power, rate, log_mean, log_precision, c, r = (Decimal(value) for value in prior)
        u, n, nu = Decimal(log_a), Decimal(J), Decimal(mean)
        a = u.exp()
        sum_log = n * (nu.ln() - Decimal(gap))
        shape = n * a + c
        out = n * (a * u - log_gamma_function(a)) + a * sum_log
        out += log_gamma_function(shape) - shape * (a * n * nu + r).ln()
        return out + (1 - power) * u - rate / a - log_precision * (u - log_mean) ** 2 / 2


def package_log_density(
    log_a: np.ndarray, J: int, mean: float, gap: float, prior: tuple[float, ...]
) -> np.ndarray:
    spread = lmc.SpreadPrior(*map(jnp.asarray, prior))
    numbers = map(jnp.asarray, (float(J), mean, gap))
    return np.asarray(jax.jit(lmc.spread_log_density)(jnp.asarray(log_a), *numbers, spread))


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize(("J", "gap"), [(20, 0.7), (20, 1e-3), (100_000, 0.3), (100_000, 1e-6)])
def test_density_is_exact_also_where_terms_of_a_million_cancel(
    name: str, J: int, gap: float
) -> None:
    log_a = np.array([-5.0, -1.0, 0.0, 1.0, 2.0794, 2.0795, 4.0, 8.0, 14.0, 17.0])
    actual = package_log_density(log_a, J, 1.7, gap, PRIORS[name])
    expected = [exact_log_density(float(u), J, 1.7, gap, PRIORS[name]) for u in log_a]
    difference = np.array([float(value - expected[3]) for value in expected])
    # Rounding of the largest term, J a gap, and an absolute error far below one.
    np.testing.assert_allclose(actual - actual[3], difference, rtol=1e-11, atol=1e-6)


def make_sums_of(J: int) -> Sums:
    """Return sums of clusters without rows and columns: only how many there are is read."""
    none = jnp.zeros((0, J))
    return Sums(
        root=jnp.zeros((0, 0, J)),
        K=jnp.zeros((0, 0, J)),
        k=none,
        S=jnp.zeros((0, 0, J)),
        s=none,
        rho=jnp.zeros(J),
        n=jnp.zeros(J),
        x_square=jnp.zeros(0),
        penalty=jnp.zeros(0),
        z_live=jnp.zeros(0, bool),
        x_live=jnp.zeros(0, bool),
        cluster_live=jnp.arange(J) < J - 2,
    )


@jax.jit
def chains(keys: jax.Array, precision: jax.Array, spread: lmc.SpreadPrior) -> jax.Array:
    """Return log a after forty updates of every chain, the precisions held fixed."""
    sums = make_sums_of(len(precision))

    def one(key: jax.Array) -> jax.Array:
        def body(i: jax.Array, log_a: jax.Array) -> jax.Array:
            u = uniforms(key, i * 4096, (3,), log_a.dtype)
            return lmc.draw_log_a(key, i * 4096 + 1, u, log_a, precision, sums, spread)

        return jax.lax.fori_loop(0, 40, body, jnp.asarray(0.7))

    return jax.vmap(one)(keys)


@pytest.mark.parametrize("theta", [1.0, 0.05, 1e-5])
def test_draws_of_the_spread_follow_its_density(theta: float) -> None:
    """Precisions that differ much, little and hardly at all, ``a = 1 / (2 theta)``."""
    rng = np.random.default_rng(1)
    a, J = 0.5 / theta, 12
    precision = rng.gamma(a, 1 / a, J) * 3
    spread = lmc.SpreadPrior(*map(jnp.asarray, PRIORS["hw"]))
    keys = jax.random.split(jax.random.key(5), 4_000)
    padded = jnp.concatenate([jnp.asarray(precision), jnp.array([5.0, 1e9])])

    drawn = np.asarray(chains(keys, padded, spread))

    mean = precision.mean()
    gap = float(np.log(mean) - np.log(precision).mean())
    points = np.linspace(*lmc.LOG_A, 20_001)
    law = cdf_on_grid(points, package_log_density(points, J, mean, gap, PRIORS["hw"]))
    assert adjusted_pvalue({"log a": drawn}, {"log a": law}) > FALSE_ALARM_RATE
    stirling = package_log_density(points, J, mean, gap, PRIORS["hw"])
    stirling = stirling + J * np.asarray(jax.jit(lmc.stirling_remainder)(jnp.exp(points)))
    wrong = {"log a": cdf_on_grid(points, stirling)}
    if theta == 1:
        assert adjusted_pvalue({"log a": drawn}, wrong) < FALSE_ALARM_RATE


FIGURES = {20: (1.1, 0.7, 0.33, 0.14), 100: (2.1, 1.2, 0.6, 0.25)}
"""By how many posterior standard deviations Stirling's formula moves log theta."""


@pytest.mark.parametrize("J", FIGURES)
def test_what_replacing_the_gamma_function_by_stirling_would_cost(J: int) -> None:
    """Why a is drawn exactly: the shift for theta 1, 0.5, 0.25 and 0.1, theta flat.

    The data are as expected: ``log a - digamma(a)`` is the gap. Figures to a tenth.
    """
    log_theta = np.linspace(-8, 6, 40_001)
    a = 0.5 * np.exp(-log_theta)
    leading = (a - 0.5) * np.log(a) - a + 0.5 * np.log(2 * np.pi)
    for theta, figure in zip((1, 0.5, 0.25, 0.1), FIGURES[J], strict=True):
        at = 0.5 / theta
        gap = np.log(at) - special.digamma(at)
        means, deviation = [], []
        for log_gamma_of_a in (special.gammaln(a), leading):
            # In log theta: the Jacobian of a flat theta is theta itself.
            log_p = J * (a * np.log(a) - log_gamma_of_a - a * (1 + gap)) + log_theta
            p = np.exp(log_p - log_p.max())
            p /= p.sum()
            means.append(p @ log_theta)
            deviation.append(np.sqrt(p @ (log_theta - means[-1]) ** 2))
        assert (means[1] - means[0]) / deviation[0] == pytest.approx(figure, rel=0.1, abs=0.01)
