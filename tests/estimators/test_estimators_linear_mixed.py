"""The batched mixed model against lme4, and against itself.

Reference figures: lme4 1.1.31 on R 4.2.2, optimiser bobyqa with rhoend 1e-10. Variance
components in the order of ``as.data.frame(VarCorr(fit))``: variances, covariances
(row 1 first), residual variance.
"""

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import AnalysisError
from jaxmice.estimators import LinearMixedFit, fit_linear_mixed
from jaxmice.estimators._mixed_sums import moment_start, prepare
from jaxmice.estimators._profiled import Sums, deviance, minimise


class Reference(NamedTuple):
    name: str
    reml: bool
    n: int
    beta: tuple[float, ...]
    se: tuple[float, ...]
    components: tuple[float, ...]
    loglik: float


REFERENCES = [
    Reference(
        "pop_ri",
        True,
        1152,
        (3.319148234, 1.331010385, 0.111168005, -0.0332033704),
        (0.1807663667, 0.09974164884, 0.01153326373, 0.006470249801),
        (0.4692957527, 0.457053092),
        -1319.852523,
    ),
    Reference(
        "pop_ri",
        False,
        1152,
        (3.319250081, 1.330874046, 0.111160756, -0.03318957368),
        (0.1791042143, 0.09964285369, 0.01142801204, 0.006463759315),
        (0.4590603053, 0.4561923118),
        -1308.139041,
    ),
    Reference(
        "pop_rs",
        True,
        1152,
        (3.322026734, 1.326341995, 0.1104128166, -0.03300743893),
        (0.1689544447, 0.14660461, 0.01077743121, 0.009397157178),
        (0.4043283758, 0.2147570217, -0.001660918, 0.4050387),
        -1294.491697,
    ),
    Reference(
        "pop_rs",
        False,
        1152,
        (3.322161127, 1.326244965, 0.1104159252, -0.03300461087),
        (0.1672229197, 0.1450920719, 0.01066793597, 0.00930184316),
        (0.3943008928, 0.2072171988, 0.0002366386261, 0.4050527929),
        -1283.451416,
    ),
    Reference(
        "two",
        True,
        1073,
        (1.89771935, 0.1029888608, -0.448467606, 0.2039451183),
        (0.4231043425, 0.008357592405, 0.07874611717, 0.110091002),
        (
            6.242548231,
            0.002468334,
            0.2112896658,
            -0.1156955392,
            0.7338465655,
            -0.01257218509,
            2.300669878,
        ),
        -2083.784812,
    ),
    Reference(
        "two",
        False,
        1073,
        (1.898330356, 0.1029914733, -0.4482255784, 0.2047768697),
        (0.4190759642, 0.008284320358, 0.07791311446, 0.1081038589),
        (
            6.060601212,
            0.002402518673,
            0.2042074058,
            -0.1125642463,
            0.7223648497,
            -0.01235261293,
            2.301303027,
        ),
        -2075.747938,
    ),
    Reference(
        "sing",
        True,
        400,
        (0.8837494496, 0.4062419008),
        (0.04546337009, 0.0489394826),
        (0.0, 0.8160567766),
        -530.1978055,
    ),
    Reference(
        "sing",
        False,
        400,
        (0.8837494496, 0.4062419008),
        (0.04534956923, 0.04881698057),
        (0.0, 0.8119764927),
        -525.9186355,
    ),
    Reference(
        "sing_s",
        True,
        400,
        (0.8847161528, 0.4067646957),
        (0.04543333894, 0.05073495323),
        (6.817401912e-05, 0.006862429765, 0.0006839878786, 0.8103591376),
        -530.1478779,
    ),
    Reference(
        "sing_s",
        False,
        400,
        (0.88437865, 0.4065747796),
        (0.04533054855, 0.04996742551),
        (4.626141599e-05, 0.004354736205, 0.0004488387941, 0.8082672494),
        -525.8974587,
    ),
    Reference(
        "singc",
        True,
        240,
        (1.224515096, 0.6143179947),
        (0.145278139, 0.109016132),
        (0.4995213115, 0.1766282593, 0.2602783028, 1.032925889),
        -374.6414348,
    ),
    Reference(
        "singc",
        False,
        240,
        (1.225326824, 0.6140967457),
        (0.1427389562, 0.1063973541),
        (0.4779173309, 0.1611769515, 0.2485797223, 1.033819938),
        -372.1270562,
    ),
]
BRANDSMA = [
    Reference(
        "b1", True, 3902, (40.95453419,), (0.3214464515,), (17.78897724, 63.40174178), -13817.88887
    ),
    Reference(
        "b1", False, 3902, (40.95514175,), (0.3206315561,), (17.67938789, 63.40277447), -13817.67161
    ),
    Reference(
        "b2",
        True,
        3886,
        (41.01000675, 2.518110612),
        (0.2396096386, 0.05328024588),
        (9.55306929, 40.51258065),
        -12878.47324,
    ),
    Reference(
        "b2",
        False,
        3886,
        (41.01041192, 2.518332711),
        (0.2389918668, 0.05326850316),
        (9.491941898, 40.50239477),
        -12875.94878,
    ),
    Reference(
        "b3",
        True,
        3886,
        (41.07296574, 2.493839834, 1.009790841),
        (0.2308690148, 0.06367489906, 0.2580048365),
        (8.681242333, 0.2003180758, -0.758649203, 39.72055759),
        -12856.4781,
    ),
    Reference(
        "b3",
        False,
        3886,
        (41.07301637, 2.493421823, 1.0084299),
        (0.2298193537, 0.06348353566, 0.2568975927),
        (8.582367221, 0.1961149932, -0.7531871048, 39.71983687),
        -12853.60079,
    ),
]


def popmis() -> tuple[np.ndarray, ...]:
    path = resources.files("jaxmice.datasets") / "popmis.csv"
    with path.open() as file:
        d = pd.read_csv(file).dropna(subset=["popular"])
    x = np.stack([np.ones(len(d)), d.sex, d.texp, d.sex * d.texp], axis=1)
    return d.popular.to_numpy(), x, x, d.school.to_numpy() - 1


def two_slopes() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(20240611)
    clusters = 60
    g = np.repeat(np.arange(clusters), rng.integers(5, 31, size=clusters))
    n = g.size
    x1, x2 = rng.normal(50.0, 10.0, size=n), rng.normal(size=n)
    w = rng.normal(size=clusters)[g]
    factor = np.array([[1.0, 0, 0], [0.02, 0.05, 0], [0.1, -0.2, 0.4]])
    b = rng.normal(size=(clusters, 3)) @ factor.T
    y = 2 + 0.1 * x1 - 0.5 * x2 + 0.3 * w + b[g, 0] + b[g, 1] * (x1 - 50) + b[g, 2] * x2
    y = y + rng.normal(size=n) * 1.5
    x = np.stack([np.ones(n), x1, x2, w], axis=1)
    return y, x, x, g


def singular() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(40), 10)
    x = rng.normal(size=g.size)
    y = 1 + 0.5 * x + rng.normal(size=g.size)
    # Cluster means closer together than chance alone would bring them.
    y = y - 0.9 * (pd.Series(y).groupby(g).transform("mean").to_numpy() - y.mean())
    columns = np.stack([np.ones(g.size), x], axis=1)
    return y, columns, columns, g


def correlated() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(30), 8)
    x = rng.normal(size=g.size)
    b = rng.normal(size=30)[g]
    y = 1 + 0.5 * x + b * 0.8 + 0.4 * b * x + rng.normal(size=g.size)
    columns = np.stack([np.ones(g.size), x], axis=1)
    return y, columns, columns, g


DATA: dict[str, tuple[Callable[[], tuple[np.ndarray, ...]], int]] = {
    "pop_ri": (popmis, 1),
    "pop_rs": (popmis, 2),
    "two": (two_slopes, 3),
    "sing": (singular, 1),
    "sing_s": (singular, 2),
    "singc": (correlated, 2),
}


def fit(y: np.ndarray, x: np.ndarray, z: np.ndarray, g: np.ndarray, **k: bool) -> LinearMixedFit:
    with jax.enable_x64(True):
        return fit_linear_mixed(np.atleast_2d(y), x, z, g, **k)


def compare(found: LinearMixedFit, wanted: Reference, absolute: float = 1e-6) -> None:
    q = found.psi.shape[-1]
    upper = np.triu_indices(q, 1)
    components = np.concatenate([np.diag(found.psi[0]), found.psi[0][upper], found.sigma2])
    np.testing.assert_allclose(found.beta[0], wanted.beta, rtol=1e-4, atol=absolute)
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov_beta[0])), wanted.se, rtol=1e-4)
    np.testing.assert_allclose(components, wanted.components, rtol=1e-3, atol=absolute)
    assert abs(found.loglik[0] - wanted.loglik) < 1e-5
    assert found.converged.all()
    assert found.n == wanted.n


@pytest.mark.parametrize(
    "wanted", REFERENCES, ids=lambda r: f"{r.name}-{'reml' if r.reml else 'ml'}"
)
def test_agrees_with_lme4(wanted: Reference) -> None:
    make, q = DATA[wanted.name]
    y, x, z, g = make()
    found = fit(y, x, z[:, :q], g, reml=wanted.reml)
    compare(found, wanted)
    assert found.singular[0] == wanted.name.startswith("sing_" if q > 1 else "sing")


@pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")
@pytest.mark.parametrize("wanted", BRANDSMA, ids=lambda r: f"{r.name}-{'reml' if r.reml else 'ml'}")
def test_agrees_with_lme4_on_brandsma(wanted: Reference) -> None:
    d = pd.read_csv(Path(os.environ["JAXMICE_DATA"]) / "brandsma.csv")
    d["iqm"] = d.groupby("sch").iqv.transform("mean")
    names = {"b1": [], "b2": ["iqv"], "b3": ["iqv", "iqm"]}[wanted.name]
    d = d.dropna(subset=["lpo", *names])
    x = np.column_stack([np.ones(len(d)), d[names]])
    z = x[:, :2] if wanted.name == "b3" else x[:, :1]
    found = fit(d.lpo.to_numpy(float), x, z, pd.factorize(d["sch"])[0], reml=wanted.reml)
    compare(found, wanted, 1e-4)


@pytest.mark.parametrize("reml", [True, False])
def test_derivatives_are_exact(reml: bool) -> None:
    y, x, z, g = two_slopes()
    prepared = prepare(y[None], x, z[:, :3], g)
    theta = moment_start(prepared)[0] + 0.1
    with jax.enable_x64(True):
        one = Sums(
            *(a if s is None else a[0] for a, s in zip(prepared.sums, prepared.shared, strict=True))
        )

        def value(t: jax.Array) -> jax.Array:
            return deviance(t, one, 1000.0, reml).value

        point = deviance(theta, one, 1000.0, reml)
        gradient, hessian = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))
        np.testing.assert_allclose(gradient(theta), point.gradient, atol=1e-7)
        np.testing.assert_allclose(hessian(theta), point.hessian, atol=1e-6)


def test_data_sets_do_not_influence_each_other() -> None:
    y, x, _, g = popmis()
    rng = np.random.default_rng(2)
    ys = y + 0.3 * rng.normal(size=(3, y.size))
    xs = x + np.array([0, 0, 0.2, 0.1]) * rng.normal(size=(3, *x.shape))
    together = fit(ys, xs, xs[..., :2], g)
    for i in range(3):
        alone = fit(ys[i], xs[i], xs[i, :, :2], g)
        np.testing.assert_allclose(together.beta[i], alone.beta[0], rtol=1e-6)
        np.testing.assert_allclose(together.psi[i], alone.psi[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(together.loglik[i], alone.loglik[0], atol=1e-6)


def test_order_of_rows_and_labels_of_clusters_do_not_matter() -> None:
    y, x, z, g = two_slopes()
    order = np.random.default_rng(0).permutation(y.size)
    straight = fit(y, x, z[:, :2], g)
    mixed = fit(y[order], x[order], z[order, :2], 3 * (59 - g[order]))
    np.testing.assert_allclose(mixed.beta, straight.beta, rtol=1e-8)
    np.testing.assert_allclose(mixed.psi, straight.psi, rtol=1e-5)


def test_result_follows_the_units_of_the_data() -> None:
    y, x, _, g = two_slopes()
    base = fit(y, x, x[:, :2], g)
    moved = x.copy()
    moved[:, 1] = 1000 + 10 * x[:, 1]
    other = fit(5 * y, moved, moved[:, :2], g)
    np.testing.assert_allclose(other.beta[0, 1] * 10, 5 * base.beta[0, 1], rtol=1e-7)
    np.testing.assert_allclose(other.psi[0, 1, 1] * 100, 25 * base.psi[0, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(other.sigma2, 25 * base.sigma2, rtol=1e-7)


def test_variance_parameters_have_the_right_covariance() -> None:
    """Balanced random intercepts have a closed form (Searle et al. 1992, section 3.8)."""
    rng = np.random.default_rng(3)
    clusters, size = 80, 6
    g = np.repeat(np.arange(clusters), size)
    y = rng.normal(size=clusters)[g] + rng.normal(size=g.size)
    ones = np.ones((g.size, 1))
    found = fit(y, ones, ones, g)
    within = 2 * found.sigma2[0] ** 2 / (clusters * (size - 1))
    mean = found.sigma2[0] + size * found.psi[0, 0, 0]
    between = 2 * mean**2 / (clusters - 1)
    jacobian = found.psi_jacobian()[0, 0, 0]
    variance = jacobian @ found.cov_factor[0] @ jacobian
    np.testing.assert_allclose(variance, (between + within) / size**2, rtol=1e-6)
    residual = found.cov_factor[0, -1, -1] * found.sigma2[0] ** 2
    np.testing.assert_allclose(residual, within, rtol=1e-6)


def test_many_random_effects_with_a_zero_among_them() -> None:
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(300), 20)
    x = np.column_stack([np.ones(g.size), rng.normal(size=(g.size, 5))])
    sd = np.array([1.0, 0.5, 0.4, 0.3, 0.2, 0.0])
    b = rng.normal(size=(300, 6)) * sd
    y = x.sum(axis=1) + np.sum(b[g] * x, axis=1) + rng.normal(size=g.size)
    found = fit(y, x, x, g)
    assert found.converged.all()
    np.testing.assert_allclose(np.sqrt(np.diag(found.psi[0])), sd, atol=0.12)


def test_one_program_for_all_data_of_a_size() -> None:
    y, x, z, g = popmis()
    fit(y, x, z[:, :1], g)
    before = minimise._cache_size()
    fit(y[:-40] + 1, x[:-40], z[:-40, :1], g[:-40])
    assert minimise._cache_size() == before


def test_complaints() -> None:
    y, x, z, g = popmis()
    doubled = np.column_stack([x, x[:, 1] + x[:, 2]])
    names = ("Intercept", "sex", "texp", "sex:texp", "sum")
    with jax.enable_x64(True):
        with pytest.raises(AnalysisError, match=r"E63.*before them: sum"):
            fit_linear_mixed(y[None], doubled, z[:, :1], g, names=names)
        with pytest.raises(AnalysisError, match=r"E61.*at least 2 clusters"):
            fit_linear_mixed(y[None], x, z[:, :1], np.zeros_like(g))
        with pytest.raises(AnalysisError, match=r"E61.*not identified"):
            fit_linear_mixed(y[None], x, z[:, :1], np.arange(y.size))
        with pytest.raises(AnalysisError, match=r"E62"):
            fit_linear_mixed(x[None, :, 1] + 2, x, z[:, :1], g)
