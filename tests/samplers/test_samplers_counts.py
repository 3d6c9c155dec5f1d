"""Two-level regressions of counts: quadrature, limits, long runs, and what stays finite."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxmice.methods import REGISTRY
from jaxmice.samplers import poisson_mixed as pm
from jaxmice.samplers.latent import make_prior
from jaxmice.target import Target
from tests.samplers.rows import ragged
from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue, bonferroni, cdf_on_grid

pytestmark = pytest.mark.usefixtures("double_precision")

TAU, INTERCEPT, SLOPE, SIZE = 0.8, 0.4, 0.7, 1.5
SIZES = (5, 4, 1, 3, 2, 4)
SEEN = (5, 4, 1, 0, 2, 2)
"""The fourth cluster shows nothing."""

ROWS = ragged(SIZES, SEEN, 1, 1, seed=4, n_shared=(1, 0))
COUNTS = {"zeros": 0, "large": 1, "single": 2, "empty": 3, "mixed": 4, "partly missing": 5}


def outcome() -> np.ndarray:
    """Return counts: a cluster of zeros only, one of large counts."""
    y = np.random.default_rng(2).poisson(2.0, len(ROWS.cluster)).astype(float)
    y[ROWS.cluster == COUNTS["zeros"]] = 0
    y[ROWS.cluster == COUNTS["large"]] += 400
    y[ROWS.cluster == COUNTS["single"]] = 9
    return y


def given(log_size: float | None) -> pm.Parameters:
    """Return parameters with known fixed effects, variance and size."""
    return pm.Parameters(
        beta=jnp.array([INTERCEPT, SLOPE]),
        b=jnp.zeros((1, len(SIZES) + ROWS.filled[0])),
        root_psi=jnp.full((1, 1), TAU),
        log_size=None if log_size is None else jnp.asarray(log_size),
        settled=jnp.ones((), bool),
    )


def effects_of_chains(overdispersed: bool, n_chains: int, n_moves: int) -> np.ndarray:
    """Return (chain, cluster) effects after moves of the effects alone."""
    known = given(np.log(SIZE) if overdispersed else None)

    @jax.jit
    def chains(keys: jax.Array, target: Target) -> jax.Array:
        counts, prior = pm.read(target, overdispersed=overdispersed), make_prior(target)
        shape = pm.geometry(known.root_psi, known.log_size, counts, prior)
        first = pm.evaluate(known.beta, known.b, known.log_size, counts)

        def chain(key: jax.Array) -> jax.Array:
            def move(i: jax.Array, state: tuple[jax.Array, pm.Fit]) -> tuple[jax.Array, pm.Fit]:
                own = jax.random.fold_in(key, i)
                z = jax.random.normal(own, known.b.shape)
                log_u = jnp.log(jax.random.uniform(jax.random.fold_in(own, 1), z.shape[1:]))
                b, fit = state
                return pm.move_effects(
                    z, log_u, known.beta, b, known.root_psi, known.log_size, fit, shape, counts
                )

            return jax.lax.fori_loop(0, n_moves, move, (known.b, first))[0][0]

        return jax.vmap(chain)(keys)

    return np.asarray(chains(jax.random.split(jax.random.key(1), n_chains), ROWS.target(outcome())))


def log_probability(y: np.ndarray, mean: np.ndarray, overdispersed: bool) -> np.ndarray:
    if overdispersed:
        return stats.nbinom.logpmf(y, SIZE, SIZE / (SIZE + mean))
    return stats.poisson.logpmf(y, mean)


def laws(overdispersed: bool) -> dict[str, Cdf]:
    """Return the posterior of the effect of every cluster on a fine grid."""
    y, b = outcome(), np.linspace(-8, 8, 8001)
    out = {}
    for name, j in COUNTS.items():
        rows = (ROWS.cluster == j) & ROWS.seen
        mean = np.exp(INTERCEPT + SLOPE * ROWS.F[0, rows][:, None] + b)
        likelihood = log_probability(y[rows][:, None], mean, overdispersed).sum(axis=0)
        out[name] = cdf_on_grid(b, stats.norm.logpdf(b, 0, TAU) + likelihood)
    return out


@pytest.mark.parametrize("overdispersed", [False, True])
def test_effects_follow_their_posterior_by_quadrature(overdispersed: bool) -> None:
    """With all else known: zeros only, large counts, one row, none, some missing."""
    b = effects_of_chains(overdispersed, 6_000, 150)
    draws = {name: b[:, j] for name, j in COUNTS.items()}
    law = laws(overdispersed)
    assert adjusted_pvalue(draws, law) > FALSE_ALARM_RATE
    assert np.all(b[:, len(SIZES) :] == 0)
    # Effects drawn as if the clusters had no values are seen.
    marginal = stats.norm(0, TAU).cdf
    for name in ("zeros", "mixed", "partly missing"):
        assert adjusted_pvalue({name: draws[name]}, {name: marginal}) < FALSE_ALARM_RATE


@pytest.mark.parametrize("name", ["2l.pois", "2l.negbin"])
def test_imputations_of_an_empty_cluster_have_the_closed_moments(name: str) -> None:
    """Mean exp(x'beta + tau^2 / 2) and variance by the law of total variance, to 4 errors."""
    rows = ragged((1, 2), (0, 2), 1, 0, seed=4, filled=(0, 0), n_shared=(1, 0), block=2)
    method = REGISTRY[name]()
    log_size = np.log(SIZE) if name == "2l.negbin" else None

    @jax.jit
    def impute(keys: jax.Array, target: Target) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            b = TAU * jax.random.normal(jax.random.fold_in(key, 1), (1, 2))
            state = dataclasses.replace(given(log_size), beta=jnp.array([INTERCEPT]), b=b)
            return method.impute(key, state, target)[0, 0]

        return jax.vmap(one)(keys)

    y = np.full(len(rows.cluster), 50.0)
    keys = jax.random.split(jax.random.key(2), 200_000)
    drawn = np.asarray(impute(keys, rows.target(y)))
    mean = np.exp(INTERCEPT + TAU**2 / 2)
    spread = np.exp(TAU**2) * (1 + (1 / SIZE if log_size is not None else 0)) - 1
    variance = mean + mean**2 * spread
    np.testing.assert_array_equal(drawn, np.round(drawn))
    for values, expected in ((drawn, mean), ((drawn - mean) ** 2, variance)):
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))
    # Forgetting the effects, or the additional variance, is seen.
    assert abs(drawn.mean() - np.exp(INTERCEPT)) > 20 * drawn.std() / np.sqrt(len(drawn))
    assert abs(drawn.var() - mean) > 1


def test_without_effects_it_is_the_regression_of_one_level() -> None:
    """One coefficient with prior N(0, 10^2), by quadrature; other columns do not exist."""
    rows = ragged((4, 3), (4, 2), 0, 2, seed=3, n_shared=(0, 1), f_live=(True, False))
    y = np.random.default_rng(5).poisson(0.8, 7).astype(float)
    target = rows.target(y)

    @jax.jit
    def chains(keys: jax.Array, target: Target) -> pm.Parameters:
        counts, prior = pm.read(target, overdispersed=False), make_prior(target)
        start = pm.start(counts, overdispersed=False)
        return jax.vmap(lambda key: pm.run(key, start, counts, prior, jnp.asarray(60)))(keys)

    after = chains(jax.random.split(jax.random.key(3), 4_000), target)
    grid = np.linspace(-30, 6, 20_001)
    seen = y[rows.seen]
    density = seen.sum() * grid - len(seen) * np.exp(grid) - grid**2 / 200
    draws = {"intercept": np.asarray(after.beta)[:, 0]}
    assert adjusted_pvalue(draws, {"intercept": cdf_on_grid(grid, density)}) > FALSE_ALARM_RATE
    assert np.all(np.asarray(after.beta)[:, 1] == 0)
    flat = seen.sum() * grid - len(seen) * np.exp(grid) + grid
    assert adjusted_pvalue(draws, {"intercept": cdf_on_grid(grid, flat)}) < FALSE_ALARM_RATE


LARGE = ragged((20,) * 40, (16,) * 40, 2, 2, seed=6, block=20, filled=(0, 0), n_shared=(2, 1))


def simulated(log_mean: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    b = rng.normal(size=(40, 2)) * [0.7, 0.3]
    eta = log_mean + LARGE.X @ [0, 0.3, 0.4, -0.4] + np.sum(LARGE.Z.T * b[LARGE.cluster], axis=1)
    return rng.poisson(np.exp(eta)).astype(float)


def run_large(dtype: str) -> Callable[..., pm.Parameters]:
    """Return the compiled run of eight chains on `LARGE`."""

    @jax.jit
    def chains(key: jax.Array, target: Target, n_steps: jax.Array) -> pm.Parameters:
        def cast(leaf: jax.Array) -> jax.Array:
            return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        target = jax.tree.map(cast, target)
        counts, prior = pm.read(target, overdispersed=False), make_prior(target)
        start = pm.start(counts, overdispersed=False)
        keys = jax.random.split(key, 8)
        return jax.vmap(lambda key: pm.run(key, start, counts, prior, n_steps))(keys)

    return chains


@pytest.fixture(scope="module")
def double() -> Callable[..., pm.Parameters]:
    return run_large("float64")


ODD = {
    "zeros only": np.zeros(800),
    "one count": np.eye(1, 800)[0],
    "huge": simulated(17.0),
    "some clusters huge": simulated(0.0) + 1e7 * (LARGE.cluster % 10 == 0),
    "zeros where others are large": simulated(6.0) * (LARGE.cluster % 2),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_odd_counts_stay_finite_and_move(
    double: Callable[..., pm.Parameters], dtype: str, name: str
) -> None:
    run = double if dtype == "float64" else single()
    target = LARGE.target(ODD[name])
    short = run(jax.random.key(1), target, jnp.asarray(30))
    after = run(jax.random.key(1), target, jnp.asarray(60))
    for old, new in zip(jax.tree.leaves(short), jax.tree.leaves(after), strict=True):
        assert np.all(np.isfinite(new))
        if new.dtype != bool:
            # Everything moves in most of the eight chains.
            still = np.all(np.asarray(old) == np.asarray(new), axis=0)
            assert not np.any(still & (np.asarray(new)[0] != 0))


_SINGLE: list[Callable[..., pm.Parameters]] = []


def single() -> Callable[..., pm.Parameters]:
    if not _SINGLE:
        _SINGLE.append(run_large("float32"))
    return _SINGLE[0]


def test_large_counts_are_as_good_as_their_logarithms(
    double: Callable[..., pm.Parameters],
) -> None:
    """Means of millions: residuals vanish, what is left is the regression of the effects."""
    y = simulated(17.0)
    after = double(jax.random.key(2), LARGE.target(y), jnp.asarray(100))
    fitted = np.asarray(
        jax.vmap(lambda beta, b: pm.predictor(beta, b, LARGE.target(y)))(after.beta, after.b)
    )
    residual = (LARGE.table(np.exp(fitted)) / y - 1) * np.sqrt(y)
    assert np.std(residual[:, LARGE.seen]) == pytest.approx(1, abs=0.15)


def test_most_proposals_are_accepted(double: Callable[..., pm.Parameters]) -> None:
    """From sparse to large counts: at least 70 % of beta, 80 % of the clusters."""

    @jax.jit
    def shares(key: jax.Array, after: pm.Parameters, target: Target) -> tuple[jax.Array, jax.Array]:
        counts, prior = pm.read(target, overdispersed=False), make_prior(target)

        def one(key: jax.Array, parameters: pm.Parameters) -> tuple[jax.Array, jax.Array]:
            beta, b, root = parameters.beta, parameters.b, parameters.root_psi
            fit = pm.evaluate(beta, b, None, counts)
            shape = pm.geometry(root, None, counts, prior)
            keys = jax.random.split(key, 4)
            z, log_u = jax.random.normal(keys[0], beta.shape), jnp.log(jax.random.uniform(keys[1]))
            moved = pm.move_beta(z, log_u, beta, b, root, None, fit, shape, counts, prior)[0]
            z = jax.random.normal(keys[2], b.shape)
            log_u = jnp.log(jax.random.uniform(keys[3], b.shape[1:]))
            effects = pm.move_effects(z, log_u, beta, b, root, None, fit, shape, counts)[0]
            return jnp.any(moved != beta), jnp.mean(jnp.any(effects != b, axis=0))

        keys = jax.random.split(key, (50, 8))
        return jax.vmap(jax.vmap(one), in_axes=(0, None))(keys, after)

    for log_mean in (-2.5, 0.0, 4.0):
        target = LARGE.target(simulated(log_mean))
        after = double(jax.random.key(3), target, jnp.asarray(100))
        beta, effects = shares(jax.random.key(4), after, target)
        assert np.mean(beta) > 0.7
        assert np.mean(effects) > 0.8


def test_single_precision_finds_the_same_posterior(double: Callable[..., pm.Parameters]) -> None:
    """Means of the fixed effects over eight chains, within five standard errors."""
    target = LARGE.target(simulated(3.0))
    wide = [double(jax.random.key(k), target, jnp.asarray(40)).beta for k in range(20)]
    narrow = [single()(jax.random.key(k), target, jnp.asarray(40)).beta for k in range(20)]
    a, b = np.concatenate(wide), np.concatenate(narrow).astype(float)
    z = (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
    assert bonferroni(2 * special.ndtr(-np.abs(z))) > FALSE_ALARM_RATE


@pytest.mark.parametrize(("name", "q"), [("2l.pois", 1), ("2l.2stage.pois", 2)])
def test_2stage_has_random_slopes_throughout(name: str, q: int) -> None:
    """The column with a fixed effect gets effects by cluster; ``2l.pois`` has none."""
    method, target = REGISTRY[name](), ROWS.target(outcome())
    sums = method.read(target)[0].sums
    assert int(np.sum(sums.z_live)) == q
    assert int(np.sum(sums.x_live)) == 2
