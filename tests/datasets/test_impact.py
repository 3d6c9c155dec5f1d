"""The simulated studies are what the documentation says."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from jaxmice.datasets import make_icc_zero, make_impact
from jaxmice.datasets.impact import COEFFICIENTS, LEVELS, OBSERVATIONAL, STUDIES
from jaxmice.errors import DataError

COLUMNS = "name type age motor_score pupil ct hypox hypots tsah edh mort".split()


@pytest.fixture(scope="module")
def simulated():
    return make_impact(seed=1)


def test_columns_sizes_and_categories(simulated):
    d = simulated.complete
    assert list(d) == list(simulated.incomplete) == COLUMNS
    assert len(d) == 11_022
    assert d.groupby("name", sort=False).size().to_dict() == STUDIES
    assert set(d.loc[d["type"] == "OBS", "name"]) == set(OBSERVATIONAL)
    for column, shares in LEVELS.items():
        if isinstance(d[column].dtype, pd.CategoricalDtype):
            assert list(d[column].cat.categories) == list(shares)
            assert d[column].cat.ordered == (column != "pupil")
        else:
            assert set(d[column]) == {0, 1}
    assert d["age"].between(14, 93).all()
    assert d.notna().all(axis=None)


def test_shares_are_those_of_the_studies():
    # Studies differ: a share moves with a deviation of about 0.02 from data set to data set,
    # the mean of 12 by 0.006; 4 of these are exceeded once in 1,000 runs of all 19 shares.
    frames = [make_impact(seed=s).complete for s in range(12)]
    for column, shares in LEVELS.items():
        for level, share in shares.items():
            found = [(d[column].astype(str) == level).mean() for d in frames]
            assert np.mean(found) == pytest.approx(share, abs=0.024), (column, level)
    assert np.mean([d["mort"].mean() for d in frames]) == pytest.approx(0.26, abs=0.03)
    assert np.mean([d["age"].mean() for d in frames]) == pytest.approx(34.9, abs=2)
    older = [d.groupby("type", observed=True)["age"].mean() for d in frames]
    assert np.mean([age["OBS"] - age["RCT"] for age in older]) > 3


def test_holes_are_sporadic_and_systematic_and_nothing_else_changes(simulated):
    missing = simulated.incomplete.isna()
    for column in simulated.complete:
        kept = ~missing[column]
        assert (simulated.incomplete[column][kept] == simulated.complete[column][kept]).all()
    by_study = missing.groupby(simulated.complete["name"]).mean()
    whole = (by_study == 1).sum()
    assert whole.to_dict() == dict.fromkeys(COLUMNS, 0) | {
        "ct": 3,
        "hypox": 2,
        "hypots": 2,
        "edh": 2,
    }
    assert missing["pupil"].mean() == pytest.approx(0.12, abs=0.02)
    assert not missing[["name", "type", "age", "motor_score", "mort"]].any(axis=None)


def test_missing_pupils_depend_on_age_in_every_other_study(simulated):
    age, missing = simulated.complete["age"], simulated.incomplete["pupil"].isna()
    odd = simulated.complete["name"].isin(list(STUDIES)[1::2])
    by_age = [age[s & missing].mean() - age[s & ~missing].mean() for s in (odd, ~odd)]
    # Means of some 500 patients: a standard error of 0.7 years.
    assert by_age[0] > 5
    assert abs(by_age[1]) < 3


def test_mortality_follows_its_model():
    # Chi-squared with 12 degrees of freedom for each of 3, above 68.0 once in 1,000.
    assert sum(_distance(make_impact(seed=seed).complete) for seed in (3, 4, 5)) < 68.0


def _distance(d):
    """Squared distance of the estimates from the truth, in units of their covariance."""
    dummies = pd.get_dummies(d[["motor_score", "pupil", "ct"]], drop_first=True, dtype=float)
    x = pd.concat([dummies, d[["age", "hypox", "hypots", "tsah", "edh"]].astype(float)], axis=1)
    x.columns = [
        f"{name.rsplit('_', 1)[0]}[T.{name.rsplit('_', 1)[1]}]" if name in dummies else name
        for name in x
    ]
    studies = pd.get_dummies(d["name"], dtype=float)
    fit = sm.GLM(d["mort"], pd.concat([x, studies], axis=1), sm.families.Binomial()).fit()
    truth = pd.Series(COEFFICIENTS)[list(x)]
    error = fit.params[list(x)] - truth
    return error @ np.linalg.solve(fit.cov_params().loc[list(x), list(x)], error)


def test_studies_differ_as_much_as_asked_for():
    found = []
    for seed in range(10):
        s = make_impact(300, between=0.5, seed=seed)
        d = s.complete
        offset = np.full(len(d), s.truth["Intercept"])
        for term, slope in COEFFICIENTS.items():
            column, _, level = term.partition("[T.")
            if level:
                offset += slope * (d[column] == level.rstrip("]")).to_numpy()
            elif term != "Intercept":
                offset += slope * d[column].to_numpy()
        p = 1 / (1 + np.exp(-offset))
        # One Newton step from zero for each study, and its sampling variance.
        top = (d["mort"] - p).groupby(d["name"]).sum()
        information = pd.Series(p * (1 - p)).groupby(d["name"]).sum()
        start = top / information
        for _ in range(8):
            p = 1 / (1 + np.exp(-offset - d["name"].map(start).to_numpy()))
            information = pd.Series(p * (1 - p)).groupby(d["name"]).sum()
            start = start + (d["mort"] - p).groupby(d["name"]).sum() / information
        found.append(np.mean(start**2 - 1 / information))
    # Mean of 150 squares of N(0, 0.5): a standard error of 0.06.
    assert np.mean(found) == pytest.approx(0.5, abs=0.2)


def test_simulations_can_be_repeated():
    a, b, c = (make_impact(10, seed=s).incomplete for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a, b)
    assert not a.equals(c)


def test_clusters_without_differences():
    s = make_icc_zero(J=400, n_j=50, seed=1)
    d = s.complete
    fit = sm.OLS(d["y"], sm.add_constant(d[["x", "b"]])).fit()
    # Standard errors are below 0.02.
    assert fit.params.to_numpy() == pytest.approx([1, 0.5, 0.5], abs=0.06)
    assert fit.scale == pytest.approx(s.truth["residual"], abs=0.05)
    means = fit.resid.groupby(d["cluster"]).mean()
    # The variance of means of 50 independent rows, with a relative standard error of 0.07.
    assert means.var() * 50 == pytest.approx(1, abs=0.28)
    lost = s.incomplete.isna().mean()
    assert lost["y"] == pytest.approx(0.25, abs=0.02)
    assert lost["b"] == pytest.approx(0.15, abs=0.02)
    assert d["x"][s.incomplete["y"].isna()].mean() > d["x"].mean() + 0.3


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (make_impact, {"n_j": 0}, "n_j must be a positive integer or 15 of them"),
        (make_impact, {"n_j": [1, 2]}, "n_j must be"),
        (make_impact, {"n_j": 2.5}, "n_j must be"),
        (make_impact, {"between": -1}, "between must be at least 0"),
        (make_icc_zero, {"J": 1}, "J must be at least 2"),
    ],
)
def test_arguments_that_make_no_sense(make, options, text):
    with pytest.raises(DataError, match=text) as caught:
        make(seed=1, **options)
    assert caught.value.code == "E55"
