"""The data sets are what their documentation says."""

import numpy as np
import pandas as pd
import pytest

from jaxmice.datasets import load_popmis, make_popular
from jaxmice.errors import DataError


def test_popmis():
    data = load_popmis()
    assert list(data) == ["pupil", "school", "popular", "sex", "texp", "const", "teachpop"]
    assert data.shape == (2000, 7)
    assert data["school"].nunique() == 100
    assert data["popular"].isna().sum() == 848
    assert data.drop(columns="popular").notna().all(axis=None)
    assert data.groupby("school")["popular"].count().between(6, 18).all()
    with pytest.raises(DataError, match=r"^E55: the true values of popmis"):
        load_popmis(complete=True)


def test_simulation_can_be_repeated():
    a, b, c = (make_popular(J=20, n_j=5, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a.incomplete, b.incomplete)
    assert not a.complete.equals(c.complete)


def test_incomplete_differs_only_by_holes():
    s = make_popular(J=200, missing={"popular": 0.3, "sex": 0.1, "texp": 0.2}, seed=3)
    missing = s.incomplete.isna()
    pd.testing.assert_frame_equal(
        s.incomplete.astype(float), s.complete.astype(float).mask(missing)
    )
    assert missing["popular"].mean() == pytest.approx(0.3, abs=0.03)
    assert missing["sex"].mean() == pytest.approx(0.1, abs=0.03)
    by_school = missing.groupby(s.complete["school"])["texp"].mean()
    assert set(by_school) == {0.0, 1.0}
    assert by_school.mean() == pytest.approx(0.2, abs=0.1)
    assert not missing[["pupil", "school", "teachpop"]].any(axis=None)
    lost = s.complete["teachpop"].groupby(missing["popular"]).mean()
    assert lost[True] < lost[False]  # missing at random, not completely at random


def test_shown_are_sizes_holes_and_truth():
    first, holes, truth = repr(make_popular(J=5, n_j=4, missing={"sex": 0.25}, seed=2)).split("\n")
    assert first == "SimulatedData: 20 rows, 6 columns"
    assert holes.startswith("  missing: sex ")
    assert "popular" not in holes
    assert "var_slope=0.25" in truth


def test_no_holes():
    s = make_popular(J=5, missing=0.0, seed=1)
    pd.testing.assert_frame_equal(s.incomplete, s.complete)


def test_truth_is_what_generated_the_data():
    s = make_popular(J=4000, n_j=20, seed=4)
    d, t = s.complete, s.truth
    mean = d.groupby("school")["popular"].mean()
    within = d.groupby("school")["popular"].var().mean()
    between = mean.var() - within / 20
    assert between / (between + within) == pytest.approx(t["icc"], abs=0.02)
    # Each school has its own regression on sex; intercept and slope vary as the truth says.
    g = d.groupby(["school", "sex"])["popular"].agg(["mean", "size"]).unstack()
    g = g[(g["size"] >= 3).all(axis=1)]
    noise = t["residual"] / g["size"]
    slope = g["mean"][1] - g["mean"][0]
    texp = d.groupby("school")["texp"].first()[g.index]
    start = g["mean"][0] - t["intercept"] - t["texp"] * texp
    assert slope.mean() == pytest.approx(t["sex"], abs=0.04)
    assert slope.var() - noise.sum(axis=1).mean() == pytest.approx(t["var_slope"], abs=0.04)
    assert start.mean() == pytest.approx(0, abs=0.05)
    assert start.var() - noise[0].mean() == pytest.approx(t["var_intercept"], abs=0.05)
    assert np.cov(start, slope)[0, 1] + noise[0].mean() == pytest.approx(0, abs=0.04)
    assert np.corrcoef(start, texp)[0, 1] == pytest.approx(0, abs=0.05)


def test_sizes():
    s = make_popular(J=3, n_j=[1, 4, 2], seed=1)
    assert s.complete.groupby("school").size().tolist() == [1, 4, 2]
    assert s.complete["pupil"].tolist() == [1, 1, 2, 3, 4, 1, 2]


def test_icc_of_zero():
    s = make_popular(J=10, icc=0, slope=0, texp=0, seed=1)
    assert s.truth["var_intercept"] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"J": 1}, "J must be at least 2"),
        ({"J": 3, "n_j": [1, 2]}, "n_j a positive integer or 3 of them"),
        ({"n_j": 0}, "n_j a positive integer"),
        ({"n_j": 2.5}, "n_j a positive integer"),
        ({"icc": 1}, "icc must be from 0 to below 1"),
        ({"residual": 0}, "residual above 0"),
        ({"icc": 0.1}, r"imply an icc of 0\.\d+, more than 0\.1"),
        ({"missing": 1}, "wrong for 'popular'"),
        ({"missing": {"pupil": 0.1}}, "wrong for 'pupil'"),
    ],
)
def test_arguments_that_make_no_sense(options, text):
    with pytest.raises(DataError, match=text) as caught:
        make_popular(seed=1, **options)
    assert caught.value.code == "E55"
