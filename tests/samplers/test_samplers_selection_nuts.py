"""A second opinion on the selection models of numbers and of two categories.

NumPyro's NUTS on the same posteriors.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.scipy.special import log_ndtr, ndtr, ndtri

from jaxmice.samplers import (
    linear_mixed as lm,
    linear_mixed_by_cluster as lmc,
    selection_mixed as sm,
    selection_probit as sp,
)
from jaxmice.target import Selection, Target
from tests.samplers.nuts import Draws, check_agreement, posterior
from tests.samplers.rows import ragged

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES = (8, 6, 12, 7, 9, 0, 1, 10, 5, 6)
J = len(SIZES)
ROWS = ragged(SIZES, SIZES, 1, 1, seed=9, filled=(0, 0), n_shared=(1, 1))
EFFECTS_DEVIATION, HALF_T = 1.0, 0.9
SPREAD = (1.0, 0.0, 0.7, 2.0, 4.0, 4.0)
N_CHAINS, N_STEPS = 1_000, 200


def outcome() -> tuple[np.ndarray, np.ndarray]:
    """Return y and whether it is selected; the fixed column is in selection only."""
    rng = np.random.default_rng(4)
    d, e = rng.normal(size=(2, len(ROWS.cluster)))
    a, b = rng.normal(size=(2, J)) * 0.7
    s = ROWS.X @ [0.4, 0.9] + a[ROWS.cluster] + d
    return ROWS.Z[0] * (0.5 + b[ROWS.cluster]) + 0.6 * d + 0.8 * e, s > 0


def half_t(name: str, shape: tuple[int, ...] = ()) -> Any:
    """Sample deviations that are half-t with two degrees of freedom."""
    tau: Any = numpyro.sample(name, dist.HalfNormal(1).mask(False).expand(list(shape)))
    numpyro.factor(f"{name}, half-t", jnp.sum(-1.5 * jnp.log(1 + tau**2 / (2 * HALF_T**2))))
    return tau


def effects() -> tuple[Any, Any, Any, Any, Any]:
    """Sample coefficients of s and y and a scalar, the last of y, and their effects."""
    normal = dist.Normal(0, EFFECTS_DEVIATION)
    alpha: Any = numpyro.sample("alpha", normal.expand([2]).to_event(1))
    beta: Any = numpyro.sample("beta", normal.expand([2]).to_event(1))
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([3, J]).to_event(2))
    a = numpyro.deterministic("a", half_t("tau_s") * z[0])
    # Huang and Wand's density of a covariance matrix, in terms of deviations and correlation.
    tau: Any = numpyro.sample("tau", dist.HalfNormal(1).mask(False).expand([2]).to_event(1))
    rho: Any = numpyro.sample("rho", dist.Uniform(-1, 1))
    rest = 1 - rho**2
    log_prior = -3 * jnp.log(jnp.prod(tau) ** 2 * rest) + 2 * jnp.sum(jnp.log(tau))
    numpyro.factor("psi", log_prior - 2 * jnp.sum(jnp.log(2 / (tau**2 * rest) + HALF_T**-2)))
    b = numpyro.deterministic("b", tau[0] * z[1])
    g = numpyro.deterministic("g", tau[1] * (rho * z[1] + jnp.sqrt(rest) * z[2]))
    return alpha, beta, a, b, g


def means(alpha: Any, beta: Any, a: Any, b: Any, g: Any) -> tuple[Any, Any, Any]:
    """Return the linear predictors of s and y, and the scalar, of every row."""
    own = jnp.asarray(ROWS.Z[0])
    mean_s = jnp.asarray(ROWS.X) @ alpha + own * a[ROWS.cluster]
    return mean_s, own * (beta[0] + b[ROWS.cluster]), (beta[1] + g)[ROWS.cluster]


def model(y: jax.Array, selected: jax.Array) -> None:
    """Write the model of a number down once more, with s integrated out."""
    mean_s, mean_y, gamma = means(*effects())
    log_a: Any = numpyro.sample("log_a", dist.Normal(SPREAD[2], SPREAD[3] ** -0.5))
    s0: Any = numpyro.sample("s0", dist.Gamma(SPREAD[4], SPREAD[5]))
    shape = jnp.exp(log_a)
    precision: Any = numpyro.sample(
        "precision", dist.Gamma(shape, shape * s0).expand([J]).to_event(1)
    )
    xi = 1 / precision[ROWS.cluster]
    residual = y - mean_y
    total = xi + gamma**2
    given_y = log_ndtr((mean_s + gamma / total * residual) * jnp.sqrt(total / xi))
    seen = given_y - residual**2 / total / 2 - jnp.log(total) / 2
    numpyro.factor("rows", jnp.sum(jnp.where(selected, seen, log_ndtr(-mean_s))))


def probit_model(y: jax.Array, selected: jax.Array) -> None:
    """Write the model of two categories down once more, with d sampled row by row."""
    normal = dist.Normal(0, EFFECTS_DEVIATION)
    alpha: Any = numpyro.sample("alpha", normal.expand([2]).to_event(1))
    beta: Any = numpyro.sample("beta", normal.expand([2]).to_event(1))
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([3, J]).to_event(2))
    # Huang and Wand (2013): marginally uniform correlations, given deviations each half-t.
    tau: Any = numpyro.sample("tau", dist.HalfNormal(1).mask(False).expand([3]).to_event(1))
    lower: Any = numpyro.sample("lower", dist.LKJCholesky(3, 1.0))
    inverse = jnp.linalg.inv(lower @ lower.T)
    # Of the density of Psi, in place of the uniform one of correlation matrices.
    log_det = 2 * jnp.sum(jnp.log(jnp.diag(lower)))
    rate = 2 * jnp.diag(inverse) / tau**2 + HALF_T**-2
    numpyro.factor("psi", -4 * log_det - 5 * jnp.sum(jnp.log(tau)) - 2.5 * jnp.sum(jnp.log(rate)))
    effects_ = tau[:, None] * (lower @ z)
    b, a, g = (numpyro.deterministic(n, e) for n, e in zip("bag", effects_, strict=True))
    mean_s, mean_y, atanh_rho = means(alpha, beta, a, b, g)
    u: Any = numpyro.sample("u", dist.Uniform(0, 1).expand([len(y)]).to_event(1))
    # Given that s is positive, d is normal and above -mean_s.
    d = -ndtri(u * ndtr(mean_s))
    side = jnp.where(y > 0, 1, -1)
    seen = log_ndtr(side * (mean_y * jnp.cosh(atanh_rho) + d * jnp.sinh(atanh_rho)))
    seen = log_ndtr(mean_s) + seen
    numpyro.factor("rows", jnp.sum(jnp.where(selected, seen, log_ndtr(-mean_s))))


def quantities(a: Any, b: Any, g: Any, values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return what is compared; effects have their cluster last."""
    effects = {"a": a, "b": b, "g": g}
    values |= {f"{name}[{j}]": effects[name][..., j] for name in effects for j in (2, 5)}
    return {name: np.asarray(value) for name, value in values.items()}


def of_sites(draws: Draws) -> Draws:
    """Return what is compared from NUTS draws."""
    alpha, beta = draws["alpha"], draws["beta"]
    values = {
        "alpha[0]": alpha[..., 0],
        "alpha[1]": alpha[..., 1],
        "beta": beta[..., 0],
        "gamma": beta[..., 1],
        "log tau, y": np.log(draws["tau"][..., 0]),
        "log tau, gamma": np.log(draws["tau"][..., -1]),
    }
    if "precision" in draws:
        values["log tau_s"] = np.log(draws["tau_s"])
        values["log precision"] = np.log(draws["precision"][..., 2])
        values["log_a"], values["log s0"] = draws["log_a"], np.log(draws["s0"])
    else:
        values["log tau_s"] = np.log(draws["tau"][..., 1])
        values["correlation of s and y"] = draws["lower"][..., 1, 0]
    return quantities(draws["a"], draws["b"], draws["g"], values)


def as_seen(selected: np.ndarray, y: np.ndarray) -> Target:
    """Return the rows as the samplers read them."""
    target = ROWS.target(y)
    seen = ROWS.arrange(selected).astype(bool)
    marks = Selection(
        hidden=target.ry & ~seen,
        selects=jnp.array([True, True]),
        explains=jnp.array([True, False]),
    )
    return dataclasses.replace(target, ry=seen, wy=marks.hidden, selection=marks)


def prior(p: int, q: int) -> lm.Prior:
    """Return the prior of p coefficients and q deviations."""
    zero, precision = jnp.asarray(0.0), jnp.full(p, EFFECTS_DEVIATION**-2)
    return lm.Prior(zero, zero, precision, zero, jnp.zeros((q, q)), jnp.full(q, HALF_T))


def by_chains(sampler: Any, data: Any, priors: Any) -> Any:
    """Return the last draws of many chains of the package: independent."""
    begin, n_steps = sampler.start(data), jnp.asarray(N_STEPS)
    keys = jax.random.split(jax.random.key(2), N_CHAINS)
    run = jax.jit(jax.vmap(lambda key: sampler.run(key, begin, data, priors, n_steps)))
    return jax.tree.map(np.asarray, run(keys))


def by_gibbs(y: np.ndarray, selected: np.ndarray) -> dict[str, np.ndarray]:
    """Return draws of a number's parameters."""
    data = sm.read(as_seen(selected, y))
    spread = lmc.SpreadPrior(*map(jnp.asarray, SPREAD))
    after = by_chains(sm, data, sm.Priors(prior(2, 1), prior(3, 2), spread))
    of_s, of_y = after.selection, after.outcome
    deviation = np.sqrt(np.sum(of_y.root_psi**2, axis=2))
    values = {
        "alpha[0]": of_s.beta[:, 0],
        "alpha[1]": of_s.beta[:, 1],
        "beta": of_y.beta[:, 0],
        "gamma": of_y.beta[:, 1],
        "log tau_s": np.log(of_s.root_psi[:, 0, 0]),
        "log tau, y": np.log(deviation[:, 0]),
        "log tau, gamma": np.log(deviation[:, 1]),
        "log precision": np.log(of_y.precision[:, 2]),
        "log_a": of_y.log_a,
        "log s0": np.log(of_y.s0),
    }
    return quantities(of_s.b[:, 0], of_y.b[:, 0], of_y.b[:, 1], values)


def by_metropolis(y: np.ndarray, selected: np.ndarray) -> dict[str, np.ndarray]:
    """Return draws of the parameters of two categories."""
    data = sp.read(as_seen(selected, y))
    after = by_chains(sp, data, prior(6, 4))
    # In the order: y, s, an unused one, atanh rho; fixed in y, fixed in s.
    deviation = np.sqrt(np.sum(after.root_psi**2, axis=2))
    values = {
        "alpha[0]": after.beta[:, 1],
        "alpha[1]": after.beta[:, 5],
        "beta": after.beta[:, 0],
        "gamma": after.beta[:, 3],
        "log tau_s": np.log(deviation[:, 1]),
        "log tau, y": np.log(deviation[:, 0]),
        "log tau, gamma": np.log(deviation[:, 3]),
        "correlation of s and y": after.root_psi[:, 1, 0] / deviation[:, 1],
    }
    return quantities(after.b[:, 1], after.b[:, 0], after.b[:, 3], values)


@pytest.mark.parametrize(("binary", "shift"), [(False, 0.25), (True, 0.35)])
def test_chains_and_nuts_agree(binary: bool, shift: float) -> None:
    """Means and variances of all parameters, an empty cluster and a single row included."""
    y, selected = outcome()
    assert 0.3 < selected.mean() < 0.8
    if binary:
        y = (y > 0).astype(float)
    theirs = posterior(
        "selection_probit" if binary else "selection_mixed",
        probit_model if binary else model,
        of_sites,
        jnp.asarray(y),
        jnp.asarray(selected),
    )
    ours = (by_metropolis if binary else by_gibbs)(y, selected)
    check_agreement(theirs, ours, "gamma", shift)
