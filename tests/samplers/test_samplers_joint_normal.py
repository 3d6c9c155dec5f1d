"""The multivariate two-level normal sampler against exact conditionals and its own prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.samplers import covariance, joint_normal as jn
from tests.samplers.joint_rows import draw_covariance, joint_target
from tests.samplers.rows import Rows, ragged
from tests.samplers.twins import Made, check_joint_law, unfold
from tests.statistics import (
    FALSE_ALARM_RATE,
    Cdf,
    adjusted_pvalue,
    bonferroni,
    normal_pvalues,
)

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES = (6, 4, 0, 1, 2, 3, 5, 1)
"""A cluster without rows, two with a single row."""

J, R = len(SIZES), 2
ROWS = ragged(
    SIZES, SIZES, 3, 2, seed=1, z_live=(True, False, True), f_live=(True, False), n_shared=(2, 1)
)
"""Columns that do not predict stand between those that do; blocks and clusters fill up."""

Z_LIVE, LIVE, DEAD = [0, 2], [0, 2, 3], [1, 4]
N_CLUSTERS = J + ROWS.filled[0]


def pattern(rows: Rows) -> np.ndarray:
    """Return (r, n) observed cells: every pattern in rows, two systematic clusters."""
    seen = np.random.default_rng(3).random((R, len(rows.cluster))) < 0.65
    seen[0, rows.cluster == 1] = False
    seen[:, rows.cluster == 6] = False
    return seen


SEEN = pattern(ROWS)


def responses_of(
    rows: Rows, y: jax.Array | np.ndarray, seen: np.ndarray, *, by_cluster: bool = False
) -> jn.Responses:
    target = joint_target(rows, y, seen)
    fitted = jnp.any(target.ry, axis=0)
    return jn.make_responses(target.y, target.ry, fitted, target, by_cluster=by_cluster)


# Exact conditionals.

N = 6_000
PSI = np.diag([0.6, 0.5, 0.3, 0.4]) + 0.1 * np.outer([2, 1, 1, 1], [2, 1, 1, 1])
OMEGA = np.array([[0.7, 0.3], [0.3, 1.2]])


def dense_posterior(
    rows: Rows, y: np.ndarray, psi: np.ndarray, omega: np.ndarray, precision: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of (vec B, vec U of all clusters), written out in full.

    ``omega`` is (J, r, r); vec runs over columns first and responses within.
    """
    n, p, q = len(rows.cluster), rows.X.shape[1], len(rows.Z)
    effects = np.zeros((n, J, q))
    effects[np.arange(n), rows.cluster] = rows.Z.T
    design = np.concatenate([rows.X, effects.reshape(n, J * q)], axis=1)
    inverse = np.linalg.inv(omega)
    prior = np.zeros((R * design.shape[1],) * 2)
    prior[: R * p, : R * p] = precision * np.eye(R * p)
    prior[R * p :, R * p :] = np.kron(np.eye(J), np.linalg.inv(psi))
    shift = np.zeros(len(prior))
    for i in range(n):
        W = np.kron(design[i], np.eye(R))
        prior += W.T @ inverse[rows.cluster[i]] @ W
        shift += W.T @ inverse[rows.cluster[i]] @ y[:, i]
    covariance_ = np.linalg.inv(prior)
    return covariance_ @ shift, covariance_


@pytest.mark.parametrize("by_cluster", [False, True])
def test_effects_follow_the_dense_posterior(by_cluster: bool) -> None:
    """Complete rows, covariances known; also for a singular Psi."""
    rows = ragged(SIZES, SIZES, 2, 2, seed=2)
    y = np.random.default_rng(4).normal(size=(R, len(rows.cluster))) + np.cos(3 * rows.cluster)
    spread = 0.5 + np.arange(N_CLUSTERS) / 4 if by_cluster else np.ones(1)
    roots = np.moveaxis(np.linalg.cholesky(OMEGA) * np.sqrt(spread)[:, None, None], 0, -1)

    @jax.jit
    def draw(keys: jax.Array, root: jax.Array) -> tuple[jax.Array, jax.Array]:
        responses = responses_of(
            rows, y, np.ones((R, len(rows.cluster)), bool), by_cluster=by_cluster
        )
        sums, flat = responses.sums, jnp.zeros((4, R))
        start = jn.start(responses, len(spread))
        start = jn.Parameters(start.beta + 0.3, start.b + 0.2, start.root_psi, jnp.asarray(roots))
        residuals = jn.row_pass(jnp.zeros(responses.y.shape), start, responses)
        any_prior = covariance.simple_prior(jnp.asarray(1.0), jnp.eye(R))
        prior = jn.Prior(any_prior, any_prior, flat, flat + 0.3)

        def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            key_beta, key_b = jax.random.split(key)
            z = jax.random.normal(key_beta, (4 * R,))
            beta = jn.draw_beta(z, root, start.root_omega, residuals, sums, prior)
            z = jax.random.normal(key_b, (2 * R, N_CLUSTERS))
            return beta, jn.draw_b(z, beta, root, start.root_omega, residuals, sums)

        return jax.vmap(one)(keys)

    keys = jax.random.split(jax.random.key(11), N)
    omega = np.broadcast_to(OMEGA, (J, R, R)) * (spread[:J, None, None] if by_cluster else 1)
    beta, b = map(np.asarray, draw(keys, jnp.linalg.cholesky(jnp.asarray(PSI))))
    by_j = np.moveaxis(b[..., :J], -1, 1).reshape(N, -1)
    draws = np.concatenate([beta.reshape(N, -1), by_j], axis=1)
    mean, cov = dense_posterior(rows, y, PSI, omega, 0.3)
    assert bonferroni(normal_pvalues(draws, mean, cov)) > FALSE_ALARM_RATE
    off = mean + 0.1 * np.sqrt(np.diag(cov))
    assert bonferroni(normal_pvalues(draws, off, cov)) < FALSE_ALARM_RATE
    np.testing.assert_array_equal(b[..., J:], 0)

    singular = np.linalg.cholesky(PSI)
    singular[2:] = 0
    near = singular @ singular.T + 1e-9 * np.eye(4)
    beta, b = map(np.asarray, draw(keys, jnp.asarray(singular)))
    mean, cov = dense_posterior(rows, y, near, omega, 0.3)
    few = 4 * R + 1
    draws = np.concatenate([beta.reshape(N, -1), b[:, 0, 0, :1]], axis=1)
    assert bonferroni(normal_pvalues(draws, mean[:few], cov[:few, :few])) > FALSE_ALARM_RATE
    np.testing.assert_array_equal(b[:, 1], 0)


def cluster_law(
    rows: Rows, y: np.ndarray, seen: np.ndarray, psi: np.ndarray, omega: np.ndarray, j: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the law of the missing cells of a cluster by conditioning its stacked vector (E9)."""
    at = np.flatnonzero(rows.cluster == j)
    n = len(at)
    total = np.kron(np.eye(n), omega) + np.kron(np.ones((n, n)), psi)
    known, value = seen[:, at].T.ravel(), y[:, at].T.ravel()
    gain = total[np.ix_(~known, known)] @ np.linalg.inv(total[np.ix_(known, known)])
    return gain @ value[known], total[np.ix_(~known, ~known)] - gain @ total[np.ix_(known, ~known)]


def test_missing_cells_follow_their_exact_conditional() -> None:
    """Covariances known, no fixed effects, clusters of 1 to 5 rows (E9)."""
    rows = ragged((5, 2, 1, 4, 3), (5, 2, 1, 4, 3), 1, 0, seed=5, n_shared=(1, 0))
    rng = np.random.default_rng(6)
    seen = rng.random((R, len(rows.cluster))) < 0.6
    seen[1, rows.cluster == 4] = False
    y = rng.normal(size=seen.shape) + rows.cluster / 2
    psi = np.array([[0.9, 0.5], [0.5, 0.6]])
    root_psi, root_omega = np.linalg.cholesky(psi), np.linalg.cholesky(OMEGA)[:, :, None]

    @jax.jit
    def cells(keys: jax.Array) -> jax.Array:
        responses = responses_of(rows, y, seen)
        zero = jn.start(responses, 1)
        roots = jnp.asarray(root_psi), jnp.asarray(root_omega)

        def one(key: jax.Array) -> jax.Array:
            def turn(carry: tuple[jax.Array, jax.Array], key: jax.Array):
                b, _ = carry
                key_rows, key_b = jax.random.split(key)
                parameters = jn.Parameters(zero.beta, b, *roots)
                z = jax.random.normal(key_rows, responses.y.shape)
                precision = jn.by_row(jn.precision_of(roots[1]), rows.layout)
                mean = jn.fitted_rows(zero.beta, b, responses.target)
                e = jn.draw_missing(z, responses.y - mean, responses.given, precision)
                residuals = jn.sum_residuals(e, parameters, responses)
                z = jax.random.normal(key_b, (R, b.shape[2]))
                new = jn.draw_b(z, zero.beta, *roots, residuals, responses.sums)
                return (new, mean + e), None

            start = (zero.b, responses.y)
            return jax.lax.scan(turn, start, jax.random.split(key, 60))[0][1]

        return jax.vmap(one)(keys)

    drawn = rows.table(cells(jax.random.split(jax.random.key(8), N)))
    pvalues, wrong = [], []
    for j in range(5):
        at = np.flatnonzero(rows.cluster == j)
        missing = ~seen[:, at].T.ravel()
        draws = np.moveaxis(drawn[:, :, at], 1, 2).reshape(N, -1)[:, missing]
        pvalues += normal_pvalues(draws, *cluster_law(rows, y, seen, psi, OMEGA, j))
        # Without clustering the rows of a cluster say nothing about each other.
        wrong += normal_pvalues(draws, *cluster_law(rows, y, seen, 0 * psi, OMEGA + psi, j))
    assert bonferroni(pvalues) > FALSE_ALARM_RATE
    assert bonferroni(wrong) < FALSE_ALARM_RATE


# A step leaves the joint law of parameters and data unchanged.

N_REPLICATE, N_STEP = 5_000, 3
BETA_PRECISION = 20.0
OMEGA_DF, OMEGA_SCALE = 6, np.array([[4.0, 1.0], [1.0, 3.0]])
PSI_DF = 8
PSI_SCALE = 3 * np.eye(4) + 0.5
HALF_T = np.array([0.8, 0.5, 0.6, 0.7])


def at_live() -> np.ndarray:
    """Return the elements of vec U that exist."""
    return np.ravel([np.arange(a * R, (a + 1) * R) for a in Z_LIVE])


def make_prior(*, half_t: bool) -> jn.Prior:
    live = jnp.asarray(at_live())
    psi = jnp.zeros((6, 6)).at[jnp.ix_(live, live)].set(PSI_SCALE)
    wide = jnp.ones(6).at[live].set(HALF_T)
    return jn.Prior(
        omega=covariance.simple_prior(
            jnp.asarray(float(OMEGA_DF)),
            jnp.asarray(OMEGA_SCALE),
            jnp.asarray(HALF_T[:R]) if half_t else None,
        ),
        psi=covariance.simple_prior(jnp.asarray(float(PSI_DF)), psi, wide if half_t else None),
        penalty=jnp.zeros((5, R)),
        beta_precision=jnp.full((5, R), BETA_PRECISION),
    )


def mean_of(beta: jax.Array, b: jax.Array) -> jax.Array:
    """Return (r, n) B'x + U'z."""
    effects = jnp.einsum("an,aln->ln", jnp.asarray(ROWS.Z), b[..., ROWS.cluster])
    return beta.T @ jnp.asarray(ROWS.X.T) + effects


def replicate(key: jax.Array, *, half_t: bool) -> dict[str, jax.Array]:
    """Draw everything from the model, take steps, return quantities of known law."""
    keys = jax.random.split(key, 6)
    live = jnp.asarray(at_live())
    wide = HALF_T if half_t else None
    omega = draw_covariance(keys[0], OMEGA_DF, OMEGA_SCALE, None if wide is None else wide[:R])
    psi = draw_covariance(keys[1], PSI_DF, PSI_SCALE, wide)
    root_psi = jnp.eye(6).at[jnp.ix_(live, live)].set(psi)
    there = jnp.zeros((5, 1)).at[jnp.asarray(LIVE)].set(1)
    beta = there * jax.random.normal(keys[2], (5, R)) / BETA_PRECISION**0.5
    b = jnp.zeros((6, N_CLUSTERS)).at[live, :J].set(psi @ jax.random.normal(keys[3], (4, J)))
    b = b.reshape(3, R, -1)
    y = mean_of(beta, b) + omega @ jax.random.normal(keys[4], SEEN.shape)
    before = jn.Parameters(beta, b, root_psi, omega[:, :, None])
    prior = make_prior(half_t=half_t)
    after = jn.run(keys[5], before, responses_of(ROWS, y, SEEN), prior, jnp.asarray(N_STEP))
    return quantities(y, after)


def quantities(y: jax.Array, after: jn.Parameters) -> dict[str, jax.Array]:
    live = jnp.asarray(at_live())
    root_psi = after.root_psi[jnp.ix_(live, live)]
    omega = after.root_omega[:, :, 0] @ after.root_omega[:, :, 0].T
    psi = root_psi @ root_psi.T
    e = y - mean_of(after.beta, after.b)
    # The second response given the first where that is observed, alone where it is not.
    slope = jnp.where(SEEN[0], omega[0, 1] / omega[0, 0], 0)
    rest = jnp.where(SEEN[0], omega[1, 1] - omega[0, 1] ** 2 / omega[0, 0], omega[1, 1])
    white = jnp.stack([e[0] / jnp.sqrt(omega[0, 0]), (e[1] - slope * e[0]) / jnp.sqrt(rest)])
    white = white * SEEN
    X = jnp.asarray(ROWS.X[:, LIVE])
    eta = jnp.linalg.solve(root_psi, after.b.reshape(6, -1)[live, :J])
    return {
        "beta": after.beta[jnp.asarray(LIVE)].ravel(),
        "omega": jnp.diag(omega),
        "omega correlation": omega[0, 1] / jnp.sqrt(omega[0, 0] * omega[1, 1]),
        "psi": jnp.diag(psi),
        "psi correlation": psi[0, 3] / jnp.sqrt(psi[0, 0] * psi[3, 3]),
        "effects": eta.ravel(),
        "length of effects": jnp.sum(eta**2),
        "rss": jnp.sum(white**2),
        "score": ((white @ X) / jnp.sqrt(SEEN @ X**2)).ravel(),
        "dead": jnp.sum(jnp.abs(after.beta[jnp.asarray(DEAD)])) + jnp.sum(jnp.abs(after.b[1])),
        "filled": jnp.sum(jnp.abs(after.b[..., J:])),
    }


def laws(*, half_t: bool) -> dict[str, Cdf]:
    """Return the law of every quantity under the model."""
    out: dict[str, Cdf] = {
        "rss": stats.chi2(int(np.sum(SEEN))).cdf,
        "length of effects": stats.chi2(4 * J).cdf,
    }
    for i in range(len(LIVE) * R):
        out[f"beta[{i}]"] = stats.norm(0, BETA_PRECISION**-0.5).cdf
        out[f"score[{i}]"] = stats.norm.cdf
    for i in range(4 * J):
        out[f"effects[{i}]"] = stats.norm.cdf
    for name, df, scale in (("omega", OMEGA_DF, OMEGA_SCALE), ("psi", PSI_DF, PSI_SCALE)):
        d = len(scale)
        for i in range(d):
            if half_t:
                out[f"{name}[{i}]"] = lambda x, s=HALF_T[i]: 2 * stats.t(2).cdf(np.sqrt(x) / s) - 1
            else:
                law = stats.invgamma((df - d + 1) / 2, scale=scale[i, i] / 2)
                out[f"{name}[{i}]"] = law.cdf
        if half_t:
            out[f"{name} correlation"] = stats.uniform(-1, 2).cdf
    return out


def test_steps_keep_the_joint_law() -> None:
    """Under the half-t prior; the inverse-Wishart one is in the test of the alarm."""
    keys = jax.random.split(jax.random.key(1), N_REPLICATE)
    draws = unfold(jax.jit(jax.vmap(lambda key: replicate(key, half_t=True)))(keys))
    assert np.all(draws["dead"] == 0)
    assert np.all(draws["filled"] == 0)
    assert adjusted_pvalue(draws, laws(half_t=True)) > FALSE_ALARM_RATE


TWINS = (
    "missing cells from their marginal law",
    "missing cells at their mean",
    "omega misses a degree of freedom",
    "omega drops its prior scale",
    "omega from the residuals at the effects before",
    "psi misses a degree of freedom",
    "beta drops its prior",
    "beta ignores that clusters differ",
    "effects from their marginal law",
)


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the sampler."""
    missing, beta, effects = jn.draw_missing, jn.draw_beta, jn.draw_b
    shapes, draw_root, products = (
        covariance.gamma_shapes,
        covariance.draw_root,
        jn.residual_products,
    )

    def draw_missing(z, e, given, precision):
        e = jnp.where(given & made("missing cells from their marginal law"), 0, e)
        right = missing(jnp.where(made("missing cells at their mean"), 0, z), e, given, precision)
        return right

    def draw_beta(z, root_psi, root_omega, residuals, sums, prior, mean=None):
        root_psi = jnp.where(made("beta ignores that clusters differ"), 0, root_psi)
        flat = jnp.where(made("beta drops its prior"), 0, prior.beta_precision)
        bare = jn.Prior(prior.omega, prior.psi, prior.penalty, flat)
        return beta(z, root_psi, root_omega, residuals, sums, bare, mean)

    def draw_b(z, b, root_psi, root_omega, residuals, sums, mean=None):
        right = effects(z, b, root_psi, root_omega, residuals, sums, mean)
        there = sums.z_live[:, None, None] & sums.cluster_live
        marginal = jnp.where(there, (root_psi @ z).reshape(right.shape), 0)
        return jnp.where(made("effects from their marginal law"), marginal, right)

    def gamma_shapes(prior, count, live):
        right = shapes(prior, count, live)
        of = "psi" if live.shape[0] == 6 else "omega"
        few = jnp.where(live[:, None], right - 0.5, right)
        return jnp.where(made(f"{of} misses a degree of freedom"), few, right)

    def root(gammas, normals, before, cross, prior, groups, live):
        dropped = made("omega drops its prior scale") & (live.shape[0] == R)
        bare = covariance.simple_prior(prior.df, jnp.where(dropped, 0, prior.scale))
        return draw_root(gammas, normals, before, cross, bare, groups, live)

    def residual_products(b, u, residuals, sums):
        stale = made("omega from the residuals at the effects before")
        at = jnp.where(stale, residuals.beta, b)
        return products(at, u, residuals, sums)

    for function in (draw_missing, draw_beta, draw_b, residual_products):
        patch.setattr(jn, function.__name__, function)
    patch.setattr(covariance, "gamma_shapes", gamma_shapes)
    patch.setattr(covariance, "draw_root", root)


def test_the_alarm_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler passes under an inverse-Wishart prior, and each of these mistakes is seen."""
    check_joint_law(
        monkeypatch,
        lambda key: replicate(key, half_t=False),
        laws(half_t=False),
        put_twins,
        TWINS,
        n_replicates=N_REPLICATE,
        seed=2,
    )
