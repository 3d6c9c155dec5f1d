"""The batched generalised mixed model against lme4, and against itself.

Reference figures: ``glmer`` of lme4 1.1.31 on R 4.2.2, optimiser bobyqa with rhoend 1e-9 and
tolPwrss 1e-13. Variance components: variances, then the covariance.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import AnalysisError
from jaxmice.estimators import (
    GeneralisedMixedFit,
    evaluate_generalised_mixed,
    fit_generalised_mixed,
)

pytestmark = pytest.mark.usefixtures("double_precision")


class Reference(NamedTuple):
    beta: tuple[float, ...]
    se: tuple[float, ...]
    components: tuple[float, ...]
    loglik: float
    singular: bool = False


ANSWERS = (
    Reference(
        (-0.312000691, 0.664622716),
        (0.230938877, 0.19495576),
        (0.894642499, 0.143717174, 0.358574248),
        -148.31457,
        singular=True,
    ),
    Reference(
        (0.469835182, 0.770931542),
        (0.141814624, 0.164490074),
        (0.00187222119, 0.00536775765, -0.00317011508),
        -149.05466,
        singular=True,
    ),
)
QUADRATURE = (
    Reference(
        (-0.353791779, 0.710683863),
        (0.224154031, 0.17730364),
        (0.83307999,),
        -149.104571,
    ),
    Reference(
        (0.469994446, 0.770091898), (0.141315622, 0.162356151), (0.0,), -149.055772, singular=True
    ),
)
COUNTS = (
    Reference(
        (0.193790845, 0.42237781),
        (0.137165183, 0.115115332),
        (0.414102849, 0.208315681, 0.177342175),
        -381.26698,
    ),
    Reference(
        (1.01100372, 0.378581713),
        (0.0408671813, 0.0473845732),
        (0.000878312592, 0.00887211598, 0.00279150339),
        -440.96738,
        singular=True,
    ),
)
TOENAIL = {
    1: Reference(
        (-2.52334835, -0.30701677, -0.400091741, -0.137259729),
        (0.788180108, 0.689922024, 0.0470583877, 0.0695859889),
        (20.8932503,),
        -627.808937,
    ),
    20: Reference(
        (-1.61821833, -0.160756937, -0.390835253, -0.136725296),
        (0.433173458, 0.583709803, 0.0443238558, 0.0679904291),
        (16.0297228,),
        -625.375273,
    ),
}
REPEATED_GRADE = Reference(
    (2.40057438, -0.280637874, -0.0473107115),
    (0.409667914, 0.0378151495, 0.00772859599),
    (0.509096255, 0.00249350827, -0.0240584325),
    -801.001663,
)
MORTALITY = Reference(
    (-1.28505502, 0.487871477, 0.986352272),
    (0.107244795, 0.0290773387, 0.0558105987),
    (0.158714334, 0.00380337039, 0.011448621),
    -5773.29238,
)
RATING = Reference(
    (0.74149802, 0.0927483275, 0.262908587, 0.0169777744),
    (0.0628718658, 0.00878060676, 0.0208641935, 0.00194624077),
    (0.0060280813, 1.66211099e-05, -0.000316533413),
    -3661.71057,
    singular=True,
)


class Simulated(NamedTuple):
    """Two outcomes of each family: one with random effects, one without."""

    x: np.ndarray
    codes: np.ndarray
    binomial: np.ndarray
    poisson: np.ndarray


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    rng = np.random.default_rng(20260101)
    g = np.repeat(np.arange(30), 8)
    x = rng.normal(size=g.size)
    b = rng.normal(size=(30, 2)) @ np.array([[0.9, 0.3], [0, 0.6]])
    eta = -0.3 + 0.8 * x + b[g, 0] + b[g, 1] * x
    chance = rng.uniform(size=(2, g.size))
    answers = chance < 1 / (1 + np.exp(-np.stack([eta, 0.2 + 0.7 * x])))
    counts = rng.poisson(np.exp(np.stack([0.5 + 0.5 * eta, 1 + 0.4 * x])))
    return Simulated(
        np.stack([np.ones(g.size), x], axis=1), g, answers.astype(float), counts.astype(float)
    )


def check(fit: GeneralisedMixedFit, i: int, wanted: Reference) -> None:
    """Compare one data set: effects to 0.002 standard errors, components to 1 per mille."""
    assert fit.converged[i]
    assert fit.singular[i] == wanted.singular
    assert np.all(np.abs(fit.beta[i] - wanted.beta) < 0.002 * np.array(wanted.se))
    np.testing.assert_allclose(np.sqrt(np.diagonal(fit.cov_beta[i])), wanted.se, rtol=2e-3)
    psi = fit.psi[i]
    found = [*np.diagonal(psi), *psi[np.triu_indices(len(psi), 1)]]
    np.testing.assert_allclose(found, wanted.components, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(fit.loglik[i], wanted.loglik, rtol=1e-7)


@pytest.mark.parametrize(
    ("family", "q", "nodes", "wanted"),
    [("binomial", 2, 1, ANSWERS), ("binomial", 1, 9, QUADRATURE), ("poisson", 2, 1, COUNTS)],
)
def test_lme4(
    simulated: Simulated, family: str, q: int, nodes: int, wanted: tuple[Reference, ...]
) -> None:
    y, x, g = getattr(simulated, family), simulated.x, simulated.codes
    fit = fit_generalised_mixed(y, x, x[:, :q], g, family, nodes=nodes)
    for i, reference in enumerate(wanted):
        check(fit, i, reference)
        # At the estimates the log-likelihood is the same, without full rank too.
        at = fit.beta[i], fit.psi[i]
        value, _ = evaluate_generalised_mixed(y, x, x[:, :q], g, family, *at, nodes=nodes)
        np.testing.assert_allclose(value[i], fit.loglik[i], rtol=1e-9)
    # A data set is fitted alike whatever others are fitted with it.
    other = fit_generalised_mixed(y[[1, 1]], x, x[:, :q], g, family, nodes=nodes)
    for name in ("beta", "cov_beta", "psi", "loglik"):
        np.testing.assert_allclose(getattr(other, name)[0], getattr(fit, name)[1], rtol=1e-9)


def test_units_and_order_do_not_matter(simulated: Simulated) -> None:
    """Fixed effects follow the units of x; the order of rows and clusters does nothing."""
    y, x, g = simulated.poisson, simulated.x, simulated.codes
    fit = fit_generalised_mixed(y, x, x, g, "poisson")
    order = np.random.default_rng(3).permutation(len(g))
    moved = x @ np.array([[1.0, 500.0], [0.0, 100.0]])
    again = fit_generalised_mixed(
        y[:, order], moved[order], moved[order], (g[order] + 7) % 30, "poisson"
    )
    np.testing.assert_allclose(again.loglik, fit.loglik, rtol=1e-10)
    np.testing.assert_allclose(100 * again.beta[:, 1], fit.beta[:, 1], rtol=1e-6)
    np.testing.assert_allclose(1e4 * again.psi[0, 1, 1], fit.psi[0, 1, 1], rtol=1e-5)


def test_components_have_standard_errors(simulated: Simulated) -> None:
    """By the delta method from the Hessian of glmer over its factor, by finite differences."""
    y, x, g = simulated.poisson, simulated.x, simulated.codes
    fit = fit_generalised_mixed(y, x, x, g, "poisson")
    jacobian = fit.psi_jacobian[0][[0, 1, 0], [0, 1, 1]]
    errors = np.sqrt(np.diagonal(jacobian @ fit.cov_factor[0] @ jacobian.T))
    np.testing.assert_allclose(errors, [0.141706321, 0.086439953, 0.090900914], rtol=5e-3)
    assert np.isnan(fit.cov_factor[1]).all()


def test_complaints(simulated: Simulated) -> None:
    x, g, y = simulated.x, simulated.codes, simulated.binomial
    with pytest.raises(AnalysisError, match=r"E67.*0 or 1, found 2"):
        fit_generalised_mixed(2 * y, x, x[:, :1], g, "binomial")
    with pytest.raises(AnalysisError, match=r"E67.*whole numbers from 0, found -1, 0\.5"):
        fit_generalised_mixed(np.where(y > 0, 0.5, -1), x, x[:, :1], g, "poisson")
    with pytest.raises(AnalysisError, match=r"E67.*same in all rows of data sets \[2\]"):
        fit_generalised_mixed(y * [[1], [0]], x, x[:, :1], g, "binomial")
    with pytest.raises(AnalysisError, match=r"E59.*single random effect, got 2"):
        fit_generalised_mixed(y, x, x, g, "binomial", nodes=5)
    with pytest.raises(AnalysisError, match=r"E61.*2 clusters"):
        fit_generalised_mixed(y, x, x, g * 0, "binomial")
    doubled = np.column_stack([x, 2 * x[:, 1]])
    with pytest.raises(AnalysisError, match=r"E63.*: c "):
        fit_generalised_mixed(y, doubled, x, g, "binomial", names=("a", "b", "c"))


def test_separated_outcomes(simulated: Simulated) -> None:
    """A predictor that tells the outcomes apart has no finite effect."""
    x, g = simulated.x, simulated.codes
    y = np.stack([x[:, 1] > 0, simulated.binomial[0]]).astype(float)
    with pytest.raises(AnalysisError, match=r"E68.* b in data sets \[1\]"):
        fit_generalised_mixed(y, x, x, g, "binomial", names=("a", "b"))


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(os.environ["JAXMICE_DATA"]) / name)


data = pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")


@data
@pytest.mark.parametrize("nodes", [1, 20])
def test_toenail(nodes: int) -> None:
    """Seven visits of 294 patients, most of them always without the outcome."""
    d = read("toenail.csv")
    x = np.stack([np.ones(len(d)), d.treatment, d.month, d.treatment * d.month], axis=1)
    codes = pd.factorize(d.ID)[0]
    y = d.outcome.to_numpy(float)[None]
    check(fit_generalised_mixed(y, x, x[:, :1], codes, "binomial", nodes=nodes), 0, TOENAIL[nodes])


@data
def test_repeated_grade() -> None:
    """Pupils of 131 schools (bdf): random slope of a column far from zero."""
    d = read("bdf.csv")
    x = np.stack([np.ones(len(d)), d["IQ.verb"], d.ses], axis=1)
    y = (d.repeatgr > 0).to_numpy(float)[None]
    check(
        fit_generalised_mixed(y, x, x[:, :2], d.schoolNR.factorize()[0], "binomial"),
        0,
        REPEATED_GRADE,
    )


@data
def test_mortality() -> None:
    """Fifteen studies of 126 to 1,510 patients (impact)."""
    d = read("impact.csv")
    age = (d.age - d.age.mean()) / d.age.std()
    x = np.stack([np.ones(len(d)), age, d.hypots], axis=1)
    y = d.mort.to_numpy(float)[None]
    check(fit_generalised_mixed(y, x, x[:, :2], d["name"].factorize()[0], "binomial"), 0, MORTALITY)


@data
def test_singular_counts() -> None:
    """Ratings of pupils in 100 classes, rounded: less spread than counts have."""
    d = read("popular2.csv")
    x = np.stack([np.ones(len(d)), d.extrav, d.sex, d.texp], axis=1)
    y = d.popteach.round().to_numpy(float)[None]
    check(fit_generalised_mixed(y, x, x[:, :2], d["class"].factorize()[0], "poisson"), 0, RATING)
