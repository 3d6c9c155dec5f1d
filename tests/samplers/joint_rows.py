"""Several responses on the two-level rows of `tests.samplers.rows`, as the package wants them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmice.target import JointTarget
from tests.samplers.rows import Rows


def joint_target(
    rows: Rows,
    y: jax.Array | np.ndarray,
    seen: np.ndarray,
    *,
    level2: tuple[bool, ...] = (),
    ignored: np.ndarray | None = None,
) -> JointTarget:
    """Return the target with these values, which may be traced.

    Parameters
    ----------
    rows
        Predictors; whether one variable is observed is unread.
    y
        (r, n) responses.
    seen
        (r, n) whether they are observed.
    level2
        Responses that are constant in clusters; none by default.
    ignored
        (n,) rows that are not fitted; none by default.
    """
    alone = rows.target(np.zeros(len(rows.cluster)))
    cells = rows.arrange(seen).astype(bool)
    fitted = rows.arrange(np.ones(len(rows.cluster)) if ignored is None else ~ignored)
    r = len(seen)
    return JointTarget(
        y=jnp.where(cells, rows.arrange(y), 0),
        ry=cells & fitted.astype(bool),
        seen=cells,
        used=fitted.astype(bool) & (rows.place >= 0),
        wy=~cells & (rows.place >= 0),
        delta=jnp.zeros(cells.shape),
        level2=jnp.asarray(level2 or (False,) * r),
        y_scale=jnp.ones(r),
        z_shared=alone.z_shared,
        z_chain=alone.z_chain,
        f_shared=alone.f_shared,
        f_chain=alone.f_chain,
        z_live=alone.z_live,
        f_live=alone.f_live,
        z_intercept=alone.z_intercept,
        f_intercept=alone.f_intercept,
        z_units=alone.z_units,
        layout=rows.layout,
    )


def draw_covariance(
    key: jax.Array, df: int, scale: np.ndarray, half_t: np.ndarray | None
) -> jax.Array:
    """Draw from the prior as the inverse of a sum of squares; return the factor."""
    key_mix, key_rows = jax.random.split(key)
    d, at = len(scale), jnp.asarray(scale)
    if half_t is not None:
        # Huang and Wand: IW(d + 1, 4 diag(1 / alpha)), 1 / alpha_k ~ Gamma(1/2, 1 / A_k^2).
        df, at = d + 1, 4 * jnp.diag(jax.random.gamma(key_mix, 0.5, (d,)) * half_t**2)
    rows = jax.random.normal(key_rows, (df, d)) @ jnp.linalg.inv(jnp.linalg.cholesky(at))
    return jnp.linalg.cholesky(jnp.linalg.inv(rows.T @ rows))
