"""Latent normals of columns of both levels: numbers, binary and nominal categories."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.two_level import by_row
from jaxmice.samplers import covariance, joint_latent as jl, joint_normal as jn
from tests.samplers import test_samplers_joint_latent as model

ROWS, J, N_CLUSTERS = model.ROWS, model.J, model.N_CLUSTERS
Values = tuple[Float[Array, "r n"], Float[Array, "s J"]]
"""Latent vectors of rows and clusters, of which the sampler sees observed cells, decoded."""

BETA = model.BETA_PRECISION**-0.5


class JointLatent(Case):
    """One residual covariance, or one per cluster."""

    methods = "jomo"
    twins = (
        "beta drops its prior",
        "psi has a prior of twice the scale",
        "coefficients of the latent normals drop their prior",
    )

    def __init__(self, name: str, *, random: bool) -> None:
        """Choose between one covariance and one per cluster."""
        self.name, self.random = name, random
        self.thin = 140 if random else 120
        self.burnin = 300

    def simulate(self, key: Key[Array, ""]) -> tuple[jl.State, Values]:
        """Draw parameters and all latent vectors."""
        keys = jax.random.split(key, 7)
        roots, spread = model.draw_omega(keys[0], random=self.random)
        d, live = len(model.HALF_T), jnp.asarray(model.CLUSTERS)
        free = model.draw_covariance(keys[1], 0, np.eye(d), model.HALF_T)
        root_psi = model.draw_factor(keys[2], free, model.SECOND.groups, 0, 0, model.PRECISION)
        z = jax.random.normal(keys[3], (len(root_psi), N_CLUSTERS))
        effects = jnp.where(live, root_psi @ z, 0)
        beta = BETA * jax.random.normal(keys[4], (model.P, model.R))
        beta2 = BETA * jax.random.normal(keys[5], (model.P, model.S))
        b = effects[model.S :][None]
        z = jax.random.normal(keys[6], (model.R, len(ROWS.cluster)))
        noise = jnp.einsum("abn,bn->an", self.by_row(roots), z)
        latent = model.rows_mean(beta, b) + noise
        w = jnp.where(live, beta2.T @ model.X2 + effects[: model.S], 0)
        level1 = jn.Parameters(beta, b, root_psi, roots)
        return jl.State(level1, ROWS.arrange(latent), beta2, w, spread), (latent, w)

    def by_row(self, roots: Float[Array, "r r G"]) -> Float[Array, "r r n"]:
        """Return the covariance factor of every row."""
        return roots[:, :, ROWS.cluster if self.random else np.zeros_like(ROWS.cluster)]

    def start(self, key: Key[Array, ""], y: Values) -> jl.State:
        """Return the sampler's own start."""
        del key
        data = model.make_data(*y, random=self.random)
        prior = model.make_prior(random=self.random)
        return jl.start(data, model.FIRST, model.SECOND, prior)

    def run(
        self, key: Key[Array, ""], state: jl.State, y: Values, n_steps: Int[Array, ""], made: Made
    ) -> jl.State:
        """Take steps."""
        data, prior = model.make_data(*y, random=self.random), model.make_prior(random=self.random)
        level1, psi = prior.level1, prior.level1.psi
        flat = jnp.where(made("beta drops its prior"), 0.0, level1.beta_precision)
        wide = jnp.where(made("psi has a prior of twice the scale"), 2.0, 1.0) * psi.half_t
        dropped = made("coefficients of the latent normals drop their prior")
        precision = jnp.where(dropped, 1e-6, psi.precision)
        psi = replace(psi, half_t=wide, precision=precision)
        prior = replace(prior, level1=replace(level1, beta_precision=flat, psi=psi))
        return jl.run(key, state, data, model.FIRST, model.SECOND, prior, n_steps)

    def impute(self, key: Key[Array, ""], state: jl.State, y: Values) -> Values:
        """Return the values as they are: the hidden ones are part of the state."""
        del key, state
        return y

    def quantities(self, state: jl.State, y: Values) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        del y
        level1 = state.level1
        latent, roots = by_row(state.y, ROWS), level1.root_omega
        e = latent - model.rows_mean(level1.beta, level1.b)
        white = jnp.einsum("abn,bn->an", jn.inverse_of(self.by_row(roots)), e)
        fitted = jnp.asarray(model.FITTED)
        v = state.w - state.beta2.T @ model.X2
        _, phi, free = covariance.split(level1.root_psi[:, :, None], model.SECOND.groups)
        number = model.C
        hidden = np.flatnonzero(~model.SEEN[0] & (ROWS.cluster == 1))[0]
        out = {
            "beta, category": level1.beta[0, 0],
            "beta, number": level1.beta[1, number],
            "beta, level 2": state.beta2[0, 0],
            "effect, category": level1.b[0, 0, 0],
            "effect, no row": level1.b[0, number, 5],
            "intercept times effect": level1.beta[0, 0] * level1.b[0, 0, 0],
            "level 2, hidden": v[-1, 1],
            "level 2 by level 1": v[0, 0] * level1.b[0, 0, 0],
            "log det Psi": 2 * jnp.sum(jnp.log(jnp.diag(free[:, :, 0]))),
            "coefficient in Psi": phi[0, 0, 0],
            "log det Omega": 2 * jnp.sum(jnp.log(jnp.diag(roots[:, :, 0]))),
            "coefficient in Omega": roots[number, 0, 0],
            "latent, hidden row": latent[number, hidden],
            "squared residuals, categories": jnp.sum(white[: model.C] ** 2 * fitted),
            "squared residuals, numbers": jnp.sum(white[model.C :] ** 2 * fitted),
        }
        if state.spread is not None:
            out["log excess"] = state.spread.log_excess
            out["log scale"] = jnp.log(state.spread.scale[0, 0])
        return out


CASES = (
    JointLatent("joint_latent, one covariance", random=False),
    JointLatent("joint_latent, one per cluster", random=True),
)
