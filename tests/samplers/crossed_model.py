"""A normal regression with nested and crossed factors, and the law of what it leaves."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxmice.engine import Blocks
from jaxmice.engine.factors import plan_factors
from jaxmice.linalg import Factor
from jaxmice.samplers import linear_mixed as lm, linear_mixed_crossed as crossed
from tests.samplers.rows import Rows, ragged
from tests.statistics import Cdf


def factors_of(rows: Rows, *codes: np.ndarray) -> tuple[Factor, ...]:
    """Return further factors, given by the group of every row."""
    layout = rows.layout
    blocks = Blocks(
        row=rows.place,
        block_cluster=np.asarray(layout.block_cluster),
        cluster_live=np.asarray(layout.cluster_live),
        n=len(rows.cluster),
    )
    return plan_factors([blocks], [list(codes)])[0]


def with_slope(factor: Factor, rows: Rows, column: np.ndarray) -> Factor:
    """Let the effect of a column vary over the groups, beside a column that is none."""
    slopes = jnp.stack([jnp.zeros(rows.place.shape), rows.arrange(column)])
    live = jnp.array([False, True])
    return replace(factor, slopes=slopes, slopes_live=live, units=jnp.eye(3))


SIZES, SEEN = (6, 4, 0, 1, 2, 3, 5, 1), (6, 0, 0, 1, 2, 3, 4, 1)
"""A cluster without rows, one whose rows are all missing, two with a single row."""

J = len(SIZES)
ROWS = ragged(SIZES, SEEN, 2, 1, seed=1, n_shared=(1, 0))
AREA = np.where(ROWS.cluster == 1, 4, np.random.default_rng(2).integers(0, 4, len(ROWS.cluster)))
"""Crossed with the clusters; nothing is observed in the last one."""

SCHOOL = np.array([0, 0, 1, 1, 2, 2, 3, 4])[ROWS.cluster]
"""Clusters are nested in these; the last holds a single one."""

GROUPS = (5, 5)
SLOPE = ROWS.F[0]
_AREA, _SCHOOL = factors_of(ROWS, AREA, SCHOOL)
FACTORS = (with_slope(_AREA, ROWS, SLOPE), _SCHOOL)

BETA_PRECISION, SIGMA2_SHAPE, SIGMA2_RATE = 20.0, 4.0, 6.0
PSI_DF = (7, 6, 5)
PSI_SCALE = (np.array([[3.0, 0.5], [0.5, 2.0]]), np.array([[2.0, -0.4], [-0.4, 1.5]]), np.eye(1))
LIVE = ([0, 1], [0, 2], [0])
"""Places of the effects that exist, of the clusters and of every further factor."""

WIDTH = (2, 3, 1)


def covariance_prior(v: int, *, first: bool) -> lm.Prior:
    at = jnp.ix_(jnp.array(LIVE[v]), jnp.array(LIVE[v]))
    return lm.Prior(
        sigma2_df=jnp.asarray(2 * SIGMA2_SHAPE),
        sigma2_rate=jnp.asarray(2 * SIGMA2_RATE),
        beta_precision=jnp.full(3 if first else 0, BETA_PRECISION),
        psi_df=jnp.asarray(float(PSI_DF[v])),
        psi_scale=jnp.zeros((WIDTH[v], WIDTH[v])).at[at].set(PSI_SCALE[v]),
    )


PRIOR = crossed.Prior(
    covariance_prior(0, first=True),
    tuple(covariance_prior(v, first=False) for v in (1, 2)),
)


def draw_factor(key: jax.Array, v: int, n_live: int, n: int) -> tuple[jax.Array, jax.Array]:
    """Draw a covariance matrix and the effects of a factor from their prior."""
    key_psi, key_u = jax.random.split(key)
    q = len(LIVE[v])
    root = jnp.linalg.inv(jnp.linalg.cholesky(jnp.asarray(PSI_SCALE[v])))
    rows = jax.random.normal(key_psi, (PSI_DF[v], q)) @ root
    root = jnp.linalg.cholesky(jnp.linalg.inv(rows.T @ rows))
    at = jnp.array(LIVE[v])
    wide = jnp.eye(WIDTH[v]).at[jnp.ix_(at, at)].set(root)
    u = jnp.zeros((WIDTH[v], n)).at[at, :n_live].set(root @ jax.random.normal(key_u, (q, n_live)))
    return wide, u


def mean_of(beta: jax.Array, b: jax.Array, u: tuple[jax.Array, ...]) -> jax.Array:
    """Return the expected values, written down once more."""
    mean = jnp.asarray(ROWS.X) @ beta + jnp.sum(jnp.asarray(ROWS.Z).T * b.T[ROWS.cluster], axis=1)
    return mean + u[0][0, AREA] + jnp.asarray(SLOPE) * u[0][2, AREA] + u[1][0, SCHOOL]


def draw_model(key: jax.Array, sigma2: jax.Array) -> tuple[crossed.Parameters, jax.Array]:
    """Draw the effects of all factors from their prior, and a response given them."""
    keys = jax.random.split(key, 5)
    root, b = draw_factor(keys[0], 0, J, J + ROWS.filled[0])
    beta = jax.random.normal(keys[1], (3,)) / BETA_PRECISION**0.5
    drawn = [
        draw_factor(keys[2 + v], v + 1, GROUPS[v], len(factor.live))
        for v, factor in enumerate(FACTORS)
    ]
    y = mean_of(beta, b, tuple(u for _, u in drawn))
    y = y + jnp.sqrt(sigma2) * jax.random.normal(keys[4], y.shape)
    first = lm.Parameters(beta=beta, b=b, root_psi=root, sigma2=sigma2)
    return crossed.Parameters(first, tuple(crossed.Effects(u, root) for root, u in drawn)), y


def quantities(y: jax.Array, after: crossed.Parameters) -> dict[str, jax.Array]:
    first = after.first
    u = tuple(effects.u for effects in after.further)
    e = (y - mean_of(first.beta, first.b, u)) / jnp.sqrt(first.sigma2) * ROWS.seen
    X, seen = jnp.asarray(ROWS.X), jnp.asarray(ROWS.seen)
    out = {
        "beta": first.beta,
        "sigma2": first.sigma2,
        "rss": jnp.sum(e**2),
        "score": X.T @ e / jnp.sqrt(jnp.sum(X**2 * seen[:, None], axis=0)),
    }
    dead = jnp.sum(jnp.abs(u[0][1]))
    effects = [(first.b, first.root_psi, J)]
    effects += [(f.u, f.root_psi, n) for f, n in zip(after.further, GROUPS, strict=True)]
    for v, (values, root, n) in enumerate(effects):
        at = jnp.array(LIVE[v])
        root = root[jnp.ix_(at, at)]
        white = jnp.linalg.solve(root, values[at, :n])
        out[f"variance {v}"] = jnp.diag(root @ root.T)
        out[f"effects {v}"] = white.ravel()
        out[f"length {v}"] = jnp.sum(white**2)
        dead = dead + jnp.sum(jnp.abs(values[:, n:]))
    for name, group in (("area", AREA), ("school", SCHOOL)):
        member = jnp.asarray((group == 0) & ROWS.seen)
        out[f"residuals of the first {name}"] = jnp.sum(e * member) / jnp.sqrt(jnp.sum(member))
    return {**out, "dead": dead}


def laws() -> dict[str, Cdf]:
    out: dict[str, Cdf] = {
        "rss": stats.chi2(int(np.sum(ROWS.seen))).cdf,
        "sigma2": stats.invgamma(SIGMA2_SHAPE, scale=SIGMA2_RATE).cdf,
        "residuals of the first area": stats.norm.cdf,
        "residuals of the first school": stats.norm.cdf,
    }
    for i in range(3):
        out[f"beta[{i}]"] = stats.norm(0, BETA_PRECISION**-0.5).cdf
        out[f"score[{i}]"] = stats.norm.cdf
    for v, n in enumerate((J, *GROUPS)):
        q = len(LIVE[v])
        out[f"length {v}"] = stats.chi2(q * n).cdf
        out |= {f"effects {v}[{i}]": stats.norm.cdf for i in range(q * n)}
        for i in range(q):
            law = stats.invgamma((PSI_DF[v] - q + 1) / 2, scale=PSI_SCALE[v][i, i] / 2)
            out[f"variance {v}[{i}]"] = law.cdf
    return out
