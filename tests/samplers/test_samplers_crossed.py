"""The normal regression with nested and crossed factors: exact laws, and wrong twins.

As for the samplers of one factor: data from the model, steps with the data held fixed,
and the parameters must follow the prior again.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from jaxmice.linalg import Factor
from jaxmice.samplers import linear_mixed as lm, linear_mixed_crossed as crossed
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers.crossed_model import (
    AREA,
    FACTORS,
    PRIOR,
    ROWS,
    SCHOOL,
    SIGMA2_RATE,
    SIGMA2_SHAPE,
    SLOPE,
    draw_model,
    factors_of,
    laws,
    quantities,
)
from tests.samplers.nuts import Draws, check_agreement, posterior
from tests.samplers.rows import Rows, ragged
from tests.samplers.twins import Made, check_joint_law
from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue, cdf_on_grid

pytestmark = pytest.mark.usefixtures("double_precision")


# --- invariance -------------------------------------------------------------------------

N_REPLICATE, N_STEP = 6_000, 3


def replicate(key: jax.Array) -> dict[str, jax.Array]:
    """Return the quantities of one replicate whose law under the model is known."""
    key_sigma, key_model, key_run = jax.random.split(key, 3)
    sigma2 = SIGMA2_RATE / jax.random.gamma(key_sigma, SIGMA2_SHAPE)
    before, y = draw_model(key_model, sigma2)
    target = replace(ROWS.target(y), factors=FACTORS)
    data = crossed.read(target, make_sums(target, by_cluster=False))
    return quantities(y, crossed.run(key_run, before, data, PRIOR, jnp.asarray(N_STEP)))


TWINS = (
    "what a factor explains is not added back",
    "factors drawn apart, given one residual",
    "effects of a further factor from their marginal law",
    "psi of the further factors misses a degree of freedom",
    "a shift forgets the prior of the other factor",
    "a shift of a part moves one factor only",
    "a shift forgets the prior of the mean",
    "sigma2 counts missing rows",
)


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the sampler."""
    product, draw_first = crossed.transposed_product, crossed.draw_first
    draw_further, gamma_shapes = crossed.draw_further, crossed.gamma_shapes
    shift_parts, shift_mean = crossed.shift_parts, crossed.shift_mean
    stale: list[jax.Array] = []

    def transposed_product(root: jax.Array, values: jax.Array) -> jax.Array:
        return jnp.where(made(TWINS[0]), 0, product(root, values))

    def first(noise: Any, before: Any, residuals: jax.Array, *rest: Any) -> Any:
        stale[:] = [residuals]
        return draw_first(noise, before, residuals, *rest)

    def further(
        z: jax.Array,
        before: crossed.Effects,
        residuals: jax.Array,
        sigma2: jax.Array,
        v: int,
        data: crossed.Data,
    ) -> tuple[crossed.Effects, jax.Array]:
        seen = jnp.where(made(TWINS[1]), stale[0], residuals)
        after, _ = draw_further(z, before, seen, sigma2, v, data)
        factor, sums = data.target.factors[v], data.further[v]
        live = sums.z_live[:, None] & sums.cluster_live
        marginal = jnp.where(live, before.root_psi @ z, 0)
        u = jnp.where(made(TWINS[2]), marginal, after.u)
        explained = crossed.contribution(u - before.u, factor)
        return replace(after, u=u), jnp.where(data.target.ry, residuals - explained, 0)

    def shapes(data: crossed.Data, prior: crossed.Prior) -> jax.Array:
        right = gamma_shapes(data, prior)
        n = lm.gamma_shapes(data.first, prior.first).shape[0]
        few = right.at[n:].add(jnp.where(right[n:] > 1, -0.5, 0))
        missing = (len(ROWS.cluster) - jnp.sum(data.first.n)) / 2
        right = jnp.where(made(TWINS[3]), few, right)
        return jnp.where(made(TWINS[7]), right.at[n - 1].add(missing), right)

    def parts(z: jax.Array, link: Any, own: Any, other: Any) -> Any:
        loose = other[1] * jnp.where(made(TWINS[4]), 1e6, 1)
        b, u = shift_parts(z, link, own, (other[0], loose, other[2]))
        return jnp.where(made(TWINS[5]), other[0], b), u

    def mean(
        z: jax.Array, first: Any, own: Any, factor: Any, data: Any, prior: crossed.Prior
    ) -> Any:
        held = jnp.where(made(TWINS[6]), 0, prior.first.beta_precision)
        prior = replace(prior, first=replace(prior.first, beta_precision=held))
        return shift_mean(z, first, own, factor, data, prior)

    patch.setattr(crossed, "transposed_product", transposed_product)
    patch.setattr(crossed, "draw_first", first)
    patch.setattr(crossed, "draw_further", further)
    patch.setattr(crossed, "gamma_shapes", shapes)
    patch.setattr(crossed, "shift_parts", parts)
    patch.setattr(crossed, "shift_mean", mean)


def test_steps_keep_the_joint_law_and_wrong_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested and crossed at once, slopes in two factors, groups without a value."""
    draws = check_joint_law(
        monkeypatch, replicate, laws(), put_twins, TWINS, n_replicates=N_REPLICATE, seed=2
    )
    assert np.all(draws["dead"] == 0)


# --- long runs --------------------------------------------------------------------------


def flat_prior(q: int, p: int, scale: float = 2.5) -> lm.Prior:
    """Return the half-t prior of Psi with everything else flat."""
    zero = jnp.asarray(0.0)
    half_t = jnp.full((q,), scale)
    return lm.Prior(zero, zero, jnp.zeros(p), zero, jnp.zeros((q, q)), half_t=half_t)


N_CHAINS = 3_000


@jax.jit
def last_of_chains(
    keys: jax.Array, target: Target, prior: crossed.Prior, n_steps: jax.Array, shift: jax.Array
) -> crossed.Parameters:
    """Return the last draws of many chains; further factors start off by ``shift``."""
    data = crossed.read(target, make_sums(target, by_cluster=False))
    begun = crossed.start(data)
    moved = tuple(replace(effects, u=effects.u + shift) for effects in begun.further)
    begun = replace(begun, further=moved)
    return jax.vmap(lambda key: crossed.run(key, begun, data, prior, n_steps))(keys)


def balanced(schools: int, classes: int, pupils: int) -> tuple[Rows, tuple[Factor, ...]]:
    """Return the rows of a balanced nested layout, an intercept their only predictor."""
    sizes = (pupils,) * (schools * classes)
    rows = ragged(sizes, sizes, 1, 0, n_shared=(1, 0), filled=(1, 1))
    return rows, factors_of(rows, rows.cluster // classes)


def grid_posterior(y: np.ndarray) -> dict[str, Cdf]:
    """Return the posterior of the variances of a balanced nested layout, by quadrature.

    The three sums of squares of y (school, class, pupil) are independent scaled
    chi-squares; the mean is flat.
    """
    S, C, n = y.shape
    class_mean = y.mean(axis=2)
    school_mean = class_mean.mean(axis=1)
    ss = (
        np.sum((y - class_mean[..., None]) ** 2),
        n * np.sum((class_mean - school_mean[:, None]) ** 2),
        n * C * np.sum((school_mean - school_mean.mean()) ** 2),
    )
    axes = [np.linspace(-7, 4, 160), np.linspace(-7, 4, 160), np.linspace(-2, 2, 90)]
    log_class, log_school, log_sigma = np.meshgrid(*axes, indexing="ij")
    tau_class, tau_school, sigma2 = (np.exp(2 * x) for x in (log_class, log_school, log_sigma))
    expected = (sigma2, sigma2 + n * tau_class, sigma2 + n * tau_class + n * C * tau_school)
    df = (S * C * (n - 1), S * (C - 1), S - 1)
    parts = zip(df, expected, ss, strict=True)
    log_p = sum((-0.5 * (d * np.log(m) + s / m) for d, m, s in parts), np.zeros(()))
    for tau in (tau_class, tau_school):
        # Half-t with two degrees of freedom and scale 2.5 on the deviation, in its logarithm.
        log_p = log_p - 1.5 * np.log1p(tau / (2 * 2.5**2)) + 0.5 * np.log(tau)
    p = np.exp(log_p - log_p.max())
    names = ("class", "school", "pupil")
    with np.errstate(divide="ignore"):
        marginal = {
            name: cdf_on_grid(axis, np.log(p.sum(axis=tuple({0, 1, 2} - {i}))))
            for i, (name, axis) in enumerate(zip(names, axes, strict=True))
        }
    return {name: lambda x, cdf=cdf: cdf(0.5 * np.log(x)) for name, cdf in marginal.items()}


def test_balanced_nested_layout_follows_its_grid_posterior() -> None:
    S, C, n = 6, 3, 4
    rows, factors = balanced(S, C, n)
    rng = np.random.default_rng(4)
    y = (
        0.8 * rng.normal(size=(S, 1, 1))
        + 0.6 * rng.normal(size=(S, C, 1))
        + 0.9 * rng.normal(size=(S, C, n))
    )
    rank = np.array([np.sum(rows.cluster[:i] == j) for i, j in enumerate(rows.cluster)])
    target = replace(rows.target(y.reshape(S * C, n)[rows.cluster, rank]), factors=factors)
    prior = crossed.Prior(flat_prior(1, 1), (flat_prior(1, 0),))
    keys = jax.random.split(jax.random.key(1), N_CHAINS)
    after = last_of_chains(keys, target, prior, jnp.asarray(300), jnp.asarray(0.0))
    draws = {
        "class": np.asarray(after.first.root_psi)[:, 0, 0] ** 2,
        "school": np.asarray(after.further[0].root_psi)[:, 0, 0] ** 2,
        "pupil": np.asarray(after.first.sigma2),
    }
    assert adjusted_pvalue(draws, grid_posterior(y)) > FALSE_ALARM_RATE
    swapped = {**draws, "class": draws["school"], "school": draws["class"]}
    assert adjusted_pvalue(swapped, grid_posterior(y)) < FALSE_ALARM_RATE


def test_one_class_per_school_mixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the sum of both effects is seen; shifts forget a bad start within a few steps."""
    rows, factors = balanced(12, 1, 8)
    rng = np.random.default_rng(6)
    y = rng.normal(size=12)[rows.cluster] + 0.3 * rng.normal(size=len(rows.cluster))
    target = replace(rows.target(y), factors=factors)
    tight = replace(flat_prior(1, 1), half_t=None, psi_df=1e4, psi_scale=jnp.full((1, 1), 5e3))
    tight = jax.tree.map(jnp.asarray, tight)
    prior = crossed.Prior(tight, (replace(tight, beta_precision=jnp.zeros(0)),))
    keys = jax.random.split(jax.random.key(3), 500)

    def mean_effect() -> np.ndarray:
        after = last_of_chains(keys, target, prior, jnp.asarray(5), jnp.asarray(5.0))
        return np.asarray(after.further[0].u)[:, 0, :12].mean(axis=1)

    error = (0.5 / 12 / len(keys)) ** 0.5
    assert abs(mean_effect().mean()) < error * stats.norm.isf(FALSE_ALARM_RATE / 2)
    monkeypatch.setattr(crossed, "recentre", lambda _noise, first, further, *_: (first, further))
    last_of_chains.clear_cache()
    assert mean_effect().mean() > 50 * error


def test_sweeps_without_noise_reach_the_expectation() -> None:
    """Given all variances the effects are those of one large ridge regression."""
    parameters, y = jax.jit(draw_model)(jax.random.key(5), jnp.asarray(0.7))

    @jax.jit
    def fitted(parameters: crossed.Parameters, y: jax.Array) -> jax.Array:
        target = replace(ROWS.target(y), factors=FACTORS)
        data = crossed.read(target, make_sums(target, by_cluster=False))
        return crossed.fitted(crossed.expected(parameters, data, PRIOR), target)

    found = np.asarray(fitted(parameters, y))

    seen, X = ROWS.seen, ROWS.X
    designs = [(ROWS.Z.T, ROWS.cluster), (np.stack([X[:, 0], SLOPE], axis=1), AREA)]
    designs.append((np.ones((len(X), 1)), SCHOOL))
    places = ([0, 1], [0, 2], [0])
    roots = [parameters.first.root_psi, *(f.root_psi for f in parameters.further)]
    columns = [X]
    for (Z, group), at, root in zip(designs, places, roots, strict=True):
        white = Z @ np.asarray(root)[np.ix_(at, at)]
        member = group[:, None] == np.arange(group.max() + 1)
        columns.append((white[:, :, None] * member[:, None]).reshape(len(X), -1))
    W = np.concatenate(columns, axis=1)
    ridge = np.diag(np.where(np.arange(W.shape[1]) < 3, 20.0, 1.0))
    gram = W[seen].T @ W[seen] / 0.7 + ridge
    expected = W @ np.linalg.solve(gram, W[seen].T @ np.asarray(y)[seen] / 0.7)
    np.testing.assert_allclose(ROWS.table(found), expected, atol=1e-4)


# --- a second opinion -------------------------------------------------------------------

NUTS_SIZES = (6, 4, 8, 3, 5, 0, 1, 7, 4, 6, 5, 2)
NUTS_ROWS = ragged(NUTS_SIZES, NUTS_SIZES, 1, 1, seed=8, filled=(0, 0), n_shared=(1, 1))
NUTS_SCHOOL = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6])[NUTS_ROWS.cluster]
NUTS_AREA = np.random.default_rng(9).integers(0, 5, len(NUTS_ROWS.cluster))
N_GROUPS = (len(NUTS_SIZES), 7, 5)
WATCHED = ((0, 5, 6), (0, 5, 6), (0, 4))
TAU_SCALE = 0.9


def model(y: jax.Array) -> None:
    """Write the model down once more: classes in schools, both crossed with areas."""
    beta: Any = numpyro.sample("beta", dist.Normal(0, 2).expand([2]).to_event(1))
    sigma2: Any = numpyro.sample("sigma2", dist.InverseGamma(2.0, 1.5))
    mean = jnp.asarray(NUTS_ROWS.X) @ beta
    for v, group in enumerate((NUTS_ROWS.cluster, NUTS_SCHOOL, NUTS_AREA)):
        tau: Any = numpyro.sample(f"tau{v}", dist.HalfNormal(1).mask(False))
        numpyro.factor(f"half-t {v}", -1.5 * jnp.log1p((tau / TAU_SCALE) ** 2 / 2))
        z: Any = numpyro.sample(f"z{v}", dist.Normal(0, 1).expand([N_GROUPS[v]]).to_event(1))
        mean = mean + tau * z[group]
    numpyro.sample("y", dist.Normal(mean, jnp.sqrt(sigma2)).to_event(1), obs=y)


def of_sites(draws: Draws) -> Draws:
    """Return what is compared from NUTS draws."""
    values = {f"beta[{i}]": draws["beta"][..., i] for i in range(2)}
    values["log sigma2"] = np.log(draws["sigma2"])
    for v in range(3):
        tau = draws[f"tau{v}"]
        values[f"log tau{v}"] = np.log(tau)
        values |= {f"u{v}[{g}]": tau * draws[f"z{v}"][..., g] for g in WATCHED[v]}
    return values


def test_gibbs_and_nuts_agree() -> None:
    """Means and variances of all parameters: nested and crossed factors in one model."""
    rng = np.random.default_rng(3)
    effects = [rng.normal(size=n) * s for n, s in zip(N_GROUPS, (0.6, 0.8, 0.7), strict=True)]
    y = NUTS_ROWS.X @ [0.5, -0.4] + 0.7 * rng.normal(size=len(NUTS_ROWS.cluster))
    for u, group in zip(effects, (NUTS_ROWS.cluster, NUTS_SCHOOL, NUTS_AREA), strict=True):
        y = y + u[group]

    first = replace(
        flat_prior(1, 2, TAU_SCALE),
        sigma2_df=jnp.asarray(4.0),
        sigma2_rate=jnp.asarray(3.0),
        beta_precision=jnp.full(2, 0.25),
    )
    prior = crossed.Prior(first, (flat_prior(1, 0, TAU_SCALE),) * 2)
    factors = factors_of(NUTS_ROWS, NUTS_SCHOOL, NUTS_AREA)
    target = replace(NUTS_ROWS.target(y), factors=factors)
    keys = jax.random.split(jax.random.key(2), N_CHAINS)
    after = last_of_chains(keys, target, prior, jnp.asarray(300), jnp.asarray(0.0))

    roots = [after.first.root_psi, *(effects.root_psi for effects in after.further)]
    u = [after.first.b, *(effects.u for effects in after.further)]
    ours = {f"beta[{i}]": np.asarray(after.first.beta)[:, i] for i in range(2)}
    ours["log sigma2"] = np.log(np.asarray(after.first.sigma2))
    for v in range(3):
        ours[f"log tau{v}"] = np.log(np.asarray(roots[v])[:, 0, 0])
        ours |= {f"u{v}[{g}]": np.asarray(u[v])[:, 0, g] for g in WATCHED[v]}
    check_agreement(posterior("crossed", model, of_sites, jnp.asarray(y)), ours, "log tau1")
