"""Multivariate two-level normal regression of two incomplete responses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from jaxmice.samplers import covariance, joint_normal as jn
from tests.samplers.joint_rows import draw_covariance, joint_target

R = 2
BETA_SD, OMEGA_DF, PSI_DF = 1.0, 7, 9
ROWS = tl.ROWS
J = len(tl.SIZES)


def pattern() -> np.ndarray:
    """Return (r, n) observed cells: every pattern in rows, a cluster without any value."""
    seen = np.random.default_rng(3).random((R, len(ROWS.cluster))) < 0.65
    seen[:, ROWS.cluster == tl.FULL] = True
    seen[:, ROWS.cluster == tl.EMPTY] = False
    seen[0, ROWS.cluster == tl.HALF] = False
    return seen


SEEN = pattern()
HIDDEN = tuple(np.flatnonzero(~SEEN[k] & (ROWS.cluster == tl.EMPTY))[0] for k in range(R))
PARTLY = np.flatnonzero(~SEEN[0] & SEEN[1])
"""Rows that show the second response only."""


def make_prior(made: Made) -> jn.Prior:
    """Return the prior that the case draws from, or a wrong one."""
    precision = jnp.where(made("beta drops its prior"), 0.0, BETA_SD**-2)
    omega_df = OMEGA_DF - made("omega misses a degree of freedom")
    psi_df = PSI_DF - made("psi misses a degree of freedom")
    shape = (tl.Q + tl.F, R)
    return jn.Prior(
        omega=covariance.simple_prior(jnp.asarray(omega_df, float), jnp.eye(R)),
        psi=covariance.simple_prior(jnp.asarray(psi_df, float), jnp.eye(tl.Q * R)),
        penalty=jnp.zeros(shape),
        beta_precision=jnp.broadcast_to(precision, shape),
    )


def mean_of(state: jn.Parameters) -> Float[Array, "r n"]:
    """Return ``B'x + U'z`` of every row."""
    effects = jnp.einsum("an,aln->ln", jnp.asarray(ROWS.Z), state.b[..., ROWS.cluster])
    return state.beta.T @ jnp.asarray(ROWS.X.T) + effects


def read(y: Float[Array, "r n"]) -> jn.Responses:
    """Return what the steps read."""
    target = joint_target(ROWS, y, SEEN)
    fitted = jnp.any(target.ry, axis=0)
    return jn.make_responses(target.y, target.ry, fitted, target, by_cluster=False)


class JointNormal(Case):
    """One residual covariance, under inverse-Wishart priors."""

    name = "joint_normal"
    methods = "pan"
    twins = (
        "omega misses a degree of freedom",
        "psi misses a degree of freedom",
        "beta drops its prior",
        "effects from their marginal law",
    )
    thin = 20

    def simulate(self, key: Key[Array, ""]) -> tuple[jn.Parameters, Float[Array, "r n"]]:
        """Draw parameters and all values."""
        keys = jax.random.split(key, 5)
        omega = draw_covariance(keys[0], OMEGA_DF, np.eye(R), None)
        psi = draw_covariance(keys[1], PSI_DF, np.eye(tl.Q * R), None)
        beta = BETA_SD * jax.random.normal(keys[2], (tl.Q + tl.F, R))
        b = (psi @ jax.random.normal(keys[3], (tl.Q * R, J))).reshape(tl.Q, R, J)
        state = jn.Parameters(beta, b, psi, omega[:, :, None])
        return state, mean_of(state) + omega @ jax.random.normal(keys[4], SEEN.shape)

    def start(self, key: Key[Array, ""], y: Float[Array, "r n"]) -> jn.Parameters:
        """Return the sampler's own start."""
        del key
        return jn.start(read(y), 1)

    def run(
        self,
        key: Key[Array, ""],
        state: jn.Parameters,
        y: Float[Array, "r n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> jn.Parameters:
        """Take steps."""
        key_run, key_twin = jax.random.split(key)
        state = jn.run(key_run, state, read(y), make_prior(made), n_steps)
        marginal = state.root_psi @ jax.random.normal(key_twin, (tl.Q * R, J))
        blind = made("effects from their marginal law")
        return replace(state, b=jnp.where(blind, marginal.reshape(state.b.shape), state.b))

    def impute(
        self, key: Key[Array, ""], state: jn.Parameters, y: Float[Array, "r n"]
    ) -> Float[Array, "r n"]:
        """Draw the hidden values as the method does."""
        target = joint_target(ROWS, y, SEEN)
        drawn = jn.impute(key, state, target.y, target.seen, target)
        return jnp.where(SEEN, y, tl.by_row(drawn))

    def quantities(
        self, state: jn.Parameters, y: Float[Array, "r n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        root = state.root_omega[:, :, 0]
        omega, psi = root @ root.T, state.root_psi @ state.root_psi.T
        e = y - mean_of(state)
        white = jnp.linalg.solve(root, e)
        alone = jnp.where(SEEN, e**2 / jnp.diag(omega)[:, None], 0)
        return {
            "intercept 1": state.beta[0, 0],
            "slope 2": state.beta[1, 1],
            "fixed slope 1": state.beta[tl.Q, 0],
            "log det Omega": 2 * jnp.sum(jnp.log(jnp.diag(root))),
            "correlation in Omega": omega[0, 1] / jnp.sqrt(omega[0, 0] * omega[1, 1]),
            "log det Psi": 2 * jnp.sum(jnp.log(jnp.diag(state.root_psi))),
            "correlation in Psi": psi[0, 1] / jnp.sqrt(psi[0, 0] * psi[1, 1]),
            "effect, half observed": state.b[0, 0, tl.HALF],
            "effect, no row": state.b[0, 1, tl.EMPTY],
            "intercept times effect": state.beta[0, 1] * state.b[0, 1, tl.FULL],
            "imputed 1, no row": y[0, HIDDEN[0]],
            "imputed 2, no row": y[1, HIDDEN[1]],
            "imputed times other": jnp.mean(e[0, PARTLY] * e[1, PARTLY]),
            "squared residuals 1": jnp.sum(alone[0]),
            "squared residuals 2": jnp.sum(alone[1]),
            "log p(all values given all)": -jnp.sum(white**2) / 2
            - e.shape[1] * jnp.sum(jnp.log(jnp.diag(root))),
        }


CASES = (JointNormal(),)
