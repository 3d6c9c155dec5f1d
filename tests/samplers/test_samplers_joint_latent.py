"""The joint latent normal sampler: its scale, its cells, and that a step keeps its own law."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.methods.jomo import cluster_means
from jaxmice.samplers import covariance, joint_latent as jl, joint_normal as jn
from jaxmice.samplers.covariance import Groups
from tests.samplers.joint_rows import draw_covariance, joint_target
from tests.samplers.rows import ragged
from tests.samplers.twins import Made, check_joint_law
from tests.statistics import FALSE_ALARM_RATE, Cdf

pytestmark = pytest.mark.usefixtures("double_precision")


# The covariance of latent normals and numbers.


def test_factor_is_that_of_the_chain_of_regressions() -> None:
    """Groups of two and one latent normals, two numbers; conditional laws written out."""
    groups, rng = Groups((2, 1)), np.random.default_rng(1)
    a = np.where(groups.earlier, rng.normal(size=(3, 3)), 0)
    phi, sigma = rng.normal(size=(2, 3)), np.array([[0.5, 0.2], [0.2, 0.9]])
    free = np.linalg.cholesky(sigma)
    parts = [jnp.asarray(each)[:, :, None] for each in (a, phi, free)]
    root = covariance.join(*parts, groups)
    total = np.asarray(root[:, :, 0] @ root[:, :, 0].T)

    assert np.all(np.triu(np.asarray(root[:, :, 0]), 1) == 0)
    # Latent normals of the first column as they are, of the second given them, and so on.
    np.testing.assert_allclose(total[:2, :2], [[1, 0.5], [0.5, 1]])
    schur = total[2, 2] - total[2, :2] @ np.linalg.solve(total[:2, :2], total[:2, 2])
    np.testing.assert_allclose(schur, 1)
    slope = np.linalg.solve(total[:3, :3], total[:3, 3:])
    np.testing.assert_allclose(total[3:, 3:] - total[3:, :3] @ slope, sigma)
    np.testing.assert_allclose(slope.T @ groups.factor, phi)
    for back, part in zip(covariance.split(root, groups), parts, strict=True):
        np.testing.assert_allclose(back, part, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_zero_means_make_all_categories_equally_likely(size: int) -> None:
    """K - 1 latent normals, variances one, covariances one half (E14); K = 2 is a probit."""
    groups, n = Groups((size - 1,)), 40_000
    z = np.random.default_rng(size).normal(size=(size - 1, n))
    e = groups.factor @ z
    codes = np.asarray(jl.decode(jnp.asarray(e)))
    counts = np.bincount(codes.astype(int), minlength=size)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM_RATE
    # Independent latent normals would favour none of them, but not the first.
    if size > 2:
        wrong = np.bincount(np.asarray(jl.decode(jnp.asarray(z))).astype(int), minlength=size)
        assert stats.chisquare(wrong).pvalue < FALSE_ALARM_RATE
    else:
        ones = int(np.sum(np.asarray(jl.decode(jnp.asarray(e + 0.4)))))
        assert stats.binomtest(ones, n, stats.norm.cdf(0.4)).pvalue > FALSE_ALARM_RATE


def test_large_alpha_is_one_covariance_for_all() -> None:
    """The distribution over clusters closes in on its centre, whatever the residuals say."""
    groups, rng, J = Groups((1, 2)), np.random.default_rng(2), 4
    a = np.where(groups.earlier, rng.normal(size=(3, 3)), 0)
    phi, scale = rng.normal(size=(2, 3)), np.array([[0.5, 0.2], [0.2, 0.9]])
    alpha = 1e10
    prior = covariance.Prior(
        *map(jnp.asarray, (alpha, (alpha - 3) * scale, a, phi, alpha)),
    )
    products = jnp.asarray(np.broadcast_to(np.eye(5)[:, :, None] * 9, (5, 5, J)))
    live = jnp.ones(2, bool)
    shapes = covariance.gamma_shapes(prior, jnp.arange(J) * 5.0, live)
    z = jnp.asarray(rng.normal(size=(5, 5, J)))
    root = covariance.draw_root(shapes, z, products, products, prior, groups, live)
    centre = [jnp.asarray(each)[:, :, None] for each in (a, phi, np.linalg.cholesky(scale))]
    expected = np.broadcast_to(covariance.join(*centre, groups), root.shape)
    np.testing.assert_allclose(root, expected, atol=1e-4)


# A step leaves the joint law of parameters, latent normals and data unchanged.

N_REPLICATE, N_STEP = {False: 2_500, True: 1_500}, 2
SIZES = (6, 4, 0, 1, 5, 3)
ROWS = ragged(SIZES, SIZES, 1, 1, seed=1, n_shared=(1, 0))
J, N_CLUSTERS = len(SIZES), len(SIZES) + ROWS.filled[0]
LEVELS, CATEGORIES = (1, 2, 1, 1, 2, 1), (0, 0, 2, 2, 3, 0)
"""Columns of both levels, numbers and categories, in no order."""

FIRST, SECOND = jl.split_members(CATEGORIES, LEVELS)
R, S, P = FIRST.dimension, SECOND.dimension, 2
C, F = FIRST.groups.n, FIRST.dimension - FIRST.groups.n
BETA_PRECISION, PRECISION = 4.0, 3.0
OMEGA_DF, OMEGA_SCALE = 7, np.array([[4.0, 1.0], [1.0, 3.0]])
HALF_T = np.linspace(0.4, 0.9, S - SECOND.groups.n + R)
SHAPE, RATE, SCALE_DF, SCALE_SCALE = 6.0, 1.0, 8, np.diag([9.0, 6.0])


def pattern() -> tuple[np.ndarray, np.ndarray]:
    """Return observed cells of level 1 (r, n) and of level 2 (2, J), by member."""
    rng = np.random.default_rng(3)
    seen = rng.random((len(FIRST.at), len(ROWS.cluster))) < 0.7
    seen[0, ROWS.cluster == 1] = False
    seen[:, ROWS.cluster == 5] = False
    seen2 = np.array([[1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0]], bool)
    return seen, seen2


SEEN, SEEN2 = pattern()
FITTED = SEEN.any(axis=0)


def make_prior(*, random: bool) -> jl.Prior:
    def leaf(*values: Any) -> list[jax.Array]:
        return [jnp.asarray(value, float) for value in values]

    zero = np.zeros((C, C)), np.zeros((F, C))
    omega = covariance.Prior(*leaf(OMEGA_DF, OMEGA_SCALE, *zero, PRECISION))
    d = len(HALF_T)
    psi = covariance.Prior(
        *leaf(0, np.eye(d), np.zeros((2, 2)), np.zeros((d, 2)), PRECISION, HALF_T)
    )
    flat, flat2 = jnp.zeros((P, R)), jnp.zeros((P, S))
    spread = jl.SpreadPrior(*leaf(SHAPE, RATE, SCALE_DF, SCALE_SCALE, PRECISION))
    return jl.Prior(
        jn.Prior(omega, psi, flat, flat + BETA_PRECISION),
        flat2,
        flat2 + BETA_PRECISION,
        spread if random else None,
    )


def draw_factor(
    key: jax.Array, free: jax.Array, groups: Groups, a: Any, phi: Any, precision: Any
) -> jax.Array:
    """Draw coefficients around their means; return the factor of the covariance."""
    key_a, key_phi = jax.random.split(key)
    c, f = groups.n, free.shape[0]
    z_a, z_phi = jax.random.normal(key_a, (c, c)), jax.random.normal(key_phi, (f, c))
    a = jnp.where(groups.earlier, a + z_a / jnp.sqrt(precision), 0)
    phi = phi + free @ z_phi / jnp.sqrt(precision)
    return covariance.join(a[:, :, None], phi[:, :, None], free[:, :, None], groups)[:, :, 0]


def draw_omega(key: jax.Array, *, random: bool) -> tuple[jax.Array, jl.Spread | None]:
    """Draw the factors of Omega, (r, r, G), and their distribution over clusters."""
    keys = jax.random.split(key, 8)
    if not random:
        free = draw_covariance(keys[0], OMEGA_DF, OMEGA_SCALE, None)
        return draw_factor(keys[1], free, FIRST.groups, 0, 0, PRECISION)[:, :, None], None
    excess = jax.random.gamma(keys[2], SHAPE) / RATE
    half = jax.random.normal(keys[3], (SCALE_DF, F)) / np.sqrt(np.diag(SCALE_SCALE))
    scale = half.T @ half
    deviation = PRECISION**-0.5
    a = jnp.where(FIRST.groups.earlier, deviation * jax.random.normal(keys[4], (C, C)), 0)
    phi = deviation * jax.random.normal(keys[5], (F, C))
    alpha = excess + F + 1

    def one(key: jax.Array) -> jax.Array:
        key_free, key_rest = jax.random.split(key)
        # Bartlett: IW(alpha, V) for real alpha, from the inverse of a lower factor.
        key_gamma, key_z = jax.random.split(key_free)
        degrees = (alpha - jnp.arange(F)) / 2
        lower = jnp.diag(jnp.sqrt(2 * jax.random.gamma(key_gamma, degrees)))
        lower = lower + jnp.tril(jax.random.normal(key_z, (F, F)), -1)
        outer = jnp.linalg.cholesky(jnp.linalg.inv(excess * scale)) @ lower
        free = jnp.linalg.cholesky(jnp.linalg.inv(outer @ outer.T))
        return draw_factor(key_rest, free, FIRST.groups, a, phi, alpha)

    roots = jax.vmap(one, out_axes=-1)(jax.random.split(keys[6], N_CLUSTERS))
    return roots, jl.Spread(jnp.log(excess), scale, a, phi)


def level2_means() -> np.ndarray:
    """Return (p, J) means of the predictors in clusters."""
    x2 = np.zeros((P, N_CLUSTERS))
    for j in range(J):
        if SIZES[j]:
            x2[:, j] = ROWS.X[ROWS.cluster == j].mean(axis=0)
    return x2


X2 = level2_means()
CLUSTERS = np.arange(N_CLUSTERS) < J


def rows_mean(beta: jax.Array, b: jax.Array) -> jax.Array:
    return beta.T @ jnp.asarray(ROWS.X.T) + jnp.asarray(ROWS.Z[0]) * b[0][:, ROWS.cluster]


def make_data(latent: jax.Array, w: jax.Array, *, random: bool) -> jl.Data:
    """Observe latent vectors: categories by their codes, unobserved cells not at all."""

    def observed(values: jax.Array, members: jl.Members) -> jax.Array:
        out, begin = [], 0
        for size in members.sizes:
            end = begin + max(size - 1, 1)
            cell = jl.decode(values[begin:end]) if size else values[begin]
            out += [cell] * (end - begin)
            begin = end
        return jnp.stack(out)

    of1, of2 = (
        np.repeat(np.arange(len(m.at)), [max(k - 1, 1) for k in m.sizes]) for m in (FIRST, SECOND)
    )
    seen, seen2 = SEEN[of1], np.pad(SEEN2, ((0, 0), (0, N_CLUSTERS - J)))[of2]
    target = joint_target(ROWS, observed(latent, FIRST), seen)
    fitted = jnp.any(target.ry, axis=0)
    rows = jn.make_responses(target.y, target.seen, fitted, target, by_cluster=random)
    w = jnp.where(seen2, observed(w, SECOND), 0)
    return jl.Data(rows, w, jnp.asarray(seen2), cluster_means(target))


def replicate(key: jax.Array, *, random: bool) -> dict[str, jax.Array]:
    """Draw everything from the model, take steps, return quantities of known law."""
    keys = jax.random.split(key, 8)
    roots, spread = draw_omega(keys[0], random=random)
    d = len(HALF_T)
    free = draw_covariance(keys[1], 0, np.eye(d), HALF_T)
    root_psi = draw_factor(keys[2], free, SECOND.groups, 0, 0, PRECISION)
    effects = jnp.where(CLUSTERS, root_psi @ jax.random.normal(keys[3], (S + R, N_CLUSTERS)), 0)
    beta = jax.random.normal(keys[4], (P, R)) / BETA_PRECISION**0.5
    beta2 = jax.random.normal(keys[5], (P, S)) / BETA_PRECISION**0.5
    b = effects[S:][None]
    z = jax.random.normal(keys[6], (R, len(ROWS.cluster)))
    by_row = roots[:, :, ROWS.cluster if random else np.zeros_like(ROWS.cluster)]
    latent = rows_mean(beta, b) + jnp.einsum("abn,bn->an", by_row, z)
    w = jnp.where(CLUSTERS, beta2.T @ X2 + effects[:S], 0)
    data = make_data(latent, w, random=random)
    level1 = jn.Parameters(beta, b, root_psi, roots)
    before = jl.State(level1, ROWS.arrange(latent), beta2, w, spread)
    prior, n = make_prior(random=random), jnp.asarray(N_STEP)
    after = jl.run(keys[7], before, data, FIRST, SECOND, prior, n)
    return quantities(data, after, random=random)


def quantities(data: jl.Data, after: jl.State, *, random: bool) -> dict[str, jax.Array]:
    place = np.argwhere(ROWS.place >= 0)
    order = np.argsort(ROWS.place[ROWS.place >= 0])
    at = tuple(place[order].T)
    y, codes, given = (each[:, at[0], at[1]] for each in (after.y, data.rows.y, data.rows.given))
    root = after.level1.root_omega
    by_row = root[:, :, ROWS.cluster if random else np.zeros_like(ROWS.cluster)]
    inverse = jn.inverse_of(by_row)
    e = jnp.einsum("abn,bn->an", inverse, y - rows_mean(after.level1.beta, after.level1.b)) * FITTED
    X = jnp.asarray(ROWS.X) * FITTED[:, None]
    v = after.w - after.beta2.T @ X2
    eta = jnp.linalg.solve(after.level1.root_psi, jnp.concatenate([v, after.level1.b[0]]))[:, :J]
    _, psi_phi, psi_free = covariance.split(after.level1.root_psi[:, :, None], SECOND.groups)
    psi_free, psi_phi = psi_free[:, :, 0], psi_phi[:, :, 0]
    a, phi, free = covariance.split(root, FIRST.groups)
    sigma = jnp.einsum("ikg,jkg->ijg", free, free)
    earlier = np.nonzero(FIRST.groups.earlier)
    out = {
        "beta": after.level1.beta.ravel(),
        "beta2": after.beta2.ravel(),
        "effects": eta.ravel(),
        "length of effects": jnp.sum(eta**2),
        "rss": jnp.sum(e**2, axis=1),
        "score": ((e @ X) / jnp.sqrt(jnp.sum(X**2, axis=0))).ravel(),
        "cross": jnp.stack([jnp.sum(e[i] * e[k]) for i in range(R) for k in range(i)])
        / np.sqrt(FITTED.sum()),
        "psi": jnp.diag(psi_free @ psi_free.T),
        "psi phi": jnp.linalg.solve(psi_free, psi_phi).ravel(),
        "broken": _broken(y, codes, given, FIRST) + _broken(after.w, data.w, data.given, SECOND),
    }
    if not random:
        return out | {
            "omega": jnp.diag(sigma[:, :, 0]),
            "a": a[:, :, 0][earlier],
            "phi": jnp.linalg.solve(free[:, :, 0], phi[:, :, 0]).ravel(),
        }
    spread = after.spread
    assert spread is not None
    excess = jnp.exp(spread.log_excess)
    alpha = excess + F + 1
    rate = excess * jnp.diag(spread.scale)[:, None] / 2
    variance = jnp.einsum("iij->ij", sigma)[:, :J]
    centred = jnp.einsum("ikj,klj->ilj", jn.inverse_of(free), phi - spread.phi[:, :, None])
    return out | {
        "excess": excess,
        "scale": jnp.diag(spread.scale) * np.diag(SCALE_SCALE),
        "mean a": spread.a[earlier],
        "mean phi": spread.phi.ravel(),
        "omega": jax.scipy.special.gammainc((alpha - F + 1) / 2, rate / variance).ravel(),
        "a": ((a - spread.a[:, :, None])[earlier][:, :J] * jnp.sqrt(alpha)).ravel(),
        "phi": (centred[:, :, :J] * jnp.sqrt(alpha)).ravel(),
    }


def _broken(y: jax.Array, codes: jax.Array, given: jax.Array, members: jl.Members) -> jax.Array:
    """Return how many given cells the latent vectors contradict."""
    total, begin = jnp.zeros(()), 0
    for size in members.sizes:
        end = begin + max(size - 1, 1)
        cell = jl.decode(y[begin:end]) if size else y[begin]
        total = total + jnp.sum((cell != codes[begin]) & given[begin])
        begin = end
    return total


def laws(*, random: bool) -> dict[str, Cdf]:
    """Return the law of every quantity under the model."""
    normal, n_fit, d = stats.norm.cdf, int(FITTED.sum()), len(HALF_T)
    beta, coefficient = (stats.norm(0, k**-0.5).cdf for k in (BETA_PRECISION, PRECISION))
    n_earlier = int(FIRST.groups.earlier.sum())

    def many(name: str, count: int, law: Cdf) -> dict[str, Cdf]:
        return {f"{name}[{i}]": law for i in range(count)}

    out: dict[str, Cdf] = {"length of effects": stats.chi2((S + R) * J).cdf}
    out |= many("beta", P * R, beta) | many("beta2", P * S, beta)
    out |= many("effects", (S + R) * J, normal) | many("score", R * P, normal)
    out |= many("rss", R, stats.chi2(n_fit).cdf) | many("psi phi", d * SECOND.groups.n, coefficient)
    for i, scale in enumerate(HALF_T):
        out[f"psi[{i}]"] = lambda x, s=scale: 2 * stats.t(2).cdf(np.sqrt(x) / s) - 1
    if not random:
        for i in range(F):
            law = stats.invgamma((OMEGA_DF - F + 1) / 2, scale=OMEGA_SCALE[i, i] / 2)
            out[f"omega[{i}]"] = law.cdf
        return out | many("a", n_earlier, coefficient) | many("phi", F * C, coefficient)
    out["excess"] = stats.gamma(SHAPE, scale=1 / RATE).cdf
    out |= many("scale", F, stats.chi2(SCALE_DF).cdf) | many("omega", F * J, stats.uniform.cdf)
    out |= many("mean a", n_earlier, coefficient) | many("mean phi", F * C, coefficient)
    return out | many("a", n_earlier * J, normal) | many("phi", F * C * J, normal)


COMMON = (
    "latent normals ignore the others",
    "latent normals ignore their rivals",
    "missing cells at their mean",
    "level 2 ignores the effects",
    "effects ignore level 2",
    "psi misses a degree of freedom",
    "coefficients drop their prior",
)
TWINS = {
    False: (*COMMON, "omega misses a degree of freedom"),
    True: (
        *COMMON,
        "omega counts all rows in every cluster",
        "alpha counts a coefficient too many",
        "alpha drops its change of variable",
        "S drops its prior degrees of freedom",
    ),
}


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the sampler."""
    sweep, missing, level2 = jl.sweep_latents, jn.draw_missing, jl.level2_given
    effects, shapes, draw_root = jl.effects_given, covariance.gamma_shapes, covariance.draw_root
    density, wishart = jl.spread_log_density, jl.wishart_shapes

    def sweep_latents(u, e, mean, codes, given, precision, members):
        r = precision.shape[0]
        eye = jnp.eye(r).reshape(r, r, *[1] * (precision.ndim - 2))
        alone = jnp.where(made("latent normals ignore the others"), precision * eye, precision)
        right = sweep(u, e, mean, codes, given, alone, members)
        c = members.groups.n
        lone = SimpleNamespace(n=c, same=np.eye(c, dtype=bool))
        each = SimpleNamespace(groups=lone, category=members.category)
        free = sweep(u, e, mean, codes, given, precision, each)
        blind = made("latent normals ignore their rivals")
        return tuple(jnp.where(blind, *pair) for pair in zip(free, right, strict=True))

    def draw_missing(z, e, given, precision):
        return missing(jnp.where(made("missing cells at their mean"), 0, z), e, given, precision)

    def level2_given(b, root_psi):
        blind = jnp.where(made("level 2 ignores the effects"), 0, b)
        return level2(blind, root_psi)

    def effects_given(v, root_psi, shape):
        mean, root = effects(v, root_psi, shape)
        return jnp.where(made("effects ignore level 2"), 0, mean), root

    def gamma_shapes(prior, count, live):
        of = "psi" if live.shape[0] == len(HALF_T) else "omega"
        if of == "omega":
            count = jnp.where(made("omega counts all rows in every cluster"), jnp.sum(count), count)
        right = shapes(prior, count, live)
        few = right.at[: live.shape[0]].add(-0.5)
        return jnp.where(made(f"{of} misses a degree of freedom"), few, right)

    def root(gammas, normals, before, cross, prior, groups, live):
        flat = jnp.where(made("coefficients drop their prior"), 1e-3, prior.precision)
        bare = covariance.Prior(prior.df, prior.scale, prior.a, prior.phi, flat, prior.half_t)
        return draw_root(gammas, normals, before, cross, bare, groups, live)

    def spread_log_density(log_excess, n, f, gap, n_coefficients, square, shape, rate):
        many = n_coefficients + jnp.where(made("alpha counts a coefficient too many"), 1, 0)
        right = density(log_excess, n, f, gap, many, square, shape, rate)
        return right - jnp.where(made("alpha drops its change of variable"), log_excess, 0)

    def wishart_shapes(df, live):
        right = wishart(df, live)
        return right - jnp.where(made("S drops its prior degrees of freedom"), SCALE_DF / 2, 0)

    for function in (sweep_latents, level2_given, effects_given):
        patch.setattr(jl, function.__name__, function)
    for function in (spread_log_density, wishart_shapes):
        patch.setattr(jl, function.__name__, function)
    patch.setattr(jn, "draw_missing", draw_missing)
    patch.setattr(covariance, "gamma_shapes", gamma_shapes)
    patch.setattr(covariance, "draw_root", root)


@pytest.mark.parametrize("random", [False, True])
def test_steps_keep_the_joint_law_and_the_alarm_works(
    monkeypatch: pytest.MonkeyPatch, random: bool
) -> None:
    """The sampler passes, no observed category is contradicted, and every mistake is seen."""
    draws = check_joint_law(
        monkeypatch,
        lambda key: replicate(key, random=random),
        laws(random=random),
        put_twins,
        TWINS[random],
        n_replicates=N_REPLICATE[random],
        seed=2,
    )
    assert np.all(draws["broken"] == 0)
