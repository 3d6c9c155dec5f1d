import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.amputation import ampute, result
from jaxmice.errors import AmputeError, JaxMiceWarning
from tests.statistics import FALSE_ALARM_RATE

DATA = pd.DataFrame(np.random.default_rng(7).lognormal(0, 1, (2000, 3)), columns=list("abc"))
CATEGORIES = DATA.assign(k=pd.Categorical(np.resize(["x", "y", "z"], len(DATA))))


def logistic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients and standard errors of a logistic regression with intercept."""
    x = np.column_stack([np.ones(len(x)), x])
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ beta))
        information = x.T @ (x * (p * (1 - p))[:, None])
        beta = beta + np.linalg.solve(information, x.T @ (y - p))
    return beta[1:], np.sqrt(np.diag(np.linalg.inv(information)))[1:]


@pytest.mark.parametrize("mech", ["MCAR", "MAR", "MNAR"])
@pytest.mark.parametrize("type", ["RIGHT", "LEFT", "TAIL", "MID"])
def test_expected_share_is_exact_for_skewed_scores(mech: str, type: str) -> None:
    made = ampute(DATA, 0.3, mech=mech, type=type, seed=1)

    np.testing.assert_allclose(made.realised()["expected"], 0.3, atol=1e-12)
    # One test of 2,000 independent draws, of which 600 were asked for.
    rows = int(made.where.any(axis=1).sum())
    assert stats.binomtest(rows, len(DATA), 0.3).pvalue > FALSE_ALARM_RATE


def test_share_of_cells_is_exact_for_patterns_of_unequal_size() -> None:
    made = ampute(DATA, 0.2, [[0, 1, 1], [0, 0, 1]], by_cases=False, seed=1)

    # 0.2 of 3 cells of a row, of which a pattern takes 1.5 on average
    assert made.prop.tolist() == pytest.approx([0.4, 0.4])
    share = made.replicates(200).sum(axis=(1, 2)) / DATA.size
    t = (share.mean() - 0.2) / (share.std(ddof=1) / np.sqrt(200))
    assert abs(t) < stats.t.isf(FALSE_ALARM_RATE / 2, 199)


def test_mar_is_the_logistic_model_of_what_stays() -> None:
    # Normal columns: the score of the candidates is a logistic predictor with slope 1.
    rng = np.random.default_rng(2)
    x = rng.multivariate_normal([0, 0, 0], np.eye(3) * 0.5 + 0.5, 60_000)
    data = pd.DataFrame(x, columns=list("abc"))

    made = ampute(data, 0.4, [[0, 1, 1]], seed=3)

    score = (x[:, 1] - x[:, 1].mean()) / x[:, 1].std() + (x[:, 2] - x[:, 2].mean()) / x[:, 2].std()
    score = score / score.std()
    np.testing.assert_allclose(made.scores, score, atol=1e-10)
    # given the score, neither what is missing nor how the score came about matters
    terms = np.column_stack([score, x[:, 0], x[:, 1]])
    beta, error = logistic(terms, made.where["a"].to_numpy().astype(float))
    z = (beta - [1, 0, 0]) / error
    assert np.abs(z).max() < stats.norm.isf(FALSE_ALARM_RATE / 2 / 3)


def test_mcar_depends_on_nothing_and_mnar_on_what_is_missing() -> None:
    critical = stats.norm.isf(FALSE_ALARM_RATE / 2 / 3)

    random = ampute(DATA, 0.3, [[0, 1, 1]], mech="MCAR", seed=4)
    beta, error = logistic(np.log(DATA.to_numpy()), random.where["a"].to_numpy().astype(float))
    assert np.abs(beta / error).max() < critical
    assert random.prob.nunique() == 1

    not_random = ampute(DATA, 0.3, [[0, 1, 1]], mech="MNAR", seed=4)
    terms = np.column_stack([not_random.scores, np.log(DATA[["b", "c"]])])
    beta, error = logistic(terms, not_random.where["a"].to_numpy().astype(float))
    assert np.abs((beta - [1, 0, 0]) / error).max() < critical
    a = DATA["a"].to_numpy()
    np.testing.assert_allclose(not_random.scores, (a - a.mean()) / a.std(), atol=1e-10)


def test_candidates_have_the_frequencies_asked_for() -> None:
    made = ampute(DATA, 0.5, freq=[1, 2, 5], seed=5)

    counts = made.cand.value_counts().loc[[1, 2, 3]]
    p = stats.chisquare(counts, np.array([1, 2, 5]) / 8 * len(DATA)).pvalue
    assert p > FALSE_ALARM_RATE
    assert set(zip(made.cand, made.where.to_numpy().argmax(axis=1), strict=True)) <= {
        (k + 1, v) for k in range(3) for v in {0, k}
    }


def test_discrete_odds_are_those_of_quantiles() -> None:
    made = ampute(DATA, 0.25, [[0, 1, 1]], cont=False, odds=[1, 0, 3], weights=[[0, 1, 0]], seed=1)

    third = pd.qcut(DATA["b"], 3, labels=False)
    prob = made.prob.groupby(third).agg(["min", "max"])
    np.testing.assert_allclose(prob["min"], prob["max"])
    np.testing.assert_allclose(prob["min"] / prob["min"][0], [1, 0, 3], rtol=1e-12)
    assert made.prob.mean() == pytest.approx(0.25, abs=1e-12)


def test_raw_columns_are_weighted_as_they_are() -> None:
    data = DATA.assign(b=1000 * DATA["b"])
    weights = pd.DataFrame({"b": [1.0], "c": [1.0]})

    raw = ampute(data, 0.3, [[0, 1, 1]], weights=weights, std=False, seed=1).scores

    assert np.corrcoef(raw, data["b"])[0, 1] > 0.999
    assert np.corrcoef(ampute(data, 0.3, [[0, 1, 1]], seed=1).scores, data["b"])[0, 1] < 0.9


def test_a_pattern_without_holes_takes_its_rows_along() -> None:
    with pytest.warns(JaxMiceWarning, match=r"W22: pattern 2 has no holes"):
        made = ampute(DATA, 0.4, [[0, 1, 1], [1, 1, 1]], freq=[3, 1], seed=1)

    assert made.prob.mean() == pytest.approx(0.3)
    assert made.patterns.to_numpy().tolist() == [[0, 1, 1]]


def test_constant_scores_give_the_share_to_everybody() -> None:
    with pytest.warns(JaxMiceWarning, match=r"W23: the scores of 'pattern 1' are constant"):
        made = ampute(DATA.assign(b=1.0, c=2.0), 0.3, [[0, 1, 1]], type="TAIL", seed=1)

    np.testing.assert_allclose(made.prob, 0.3)


def test_categories_count_by_their_order() -> None:
    with pytest.warns(JaxMiceWarning, match="W21: categories of 'k' count 0, 1, 2"):
        made = ampute(CATEGORIES, 0.3, [[0, 1, 1, 1]], weights=[[0, 0, 0, 1]], seed=1)

    assert made.scores.groupby(CATEGORIES["k"], observed=True).first().is_monotonic_increasing
    # nothing is scored, so nothing is coded
    ampute(CATEGORIES, 0.3, mech="MCAR", seed=1)


def test_dtypes_stay_or_become_nullable() -> None:
    n = 40
    data = pd.DataFrame(
        {
            "i": np.arange(n, dtype="int16"),
            "u": np.arange(n, dtype="uint8") % 7,
            "f": np.linspace(0, 1, n, dtype="float32"),
            "t": np.resize([True, False], n),
            "k": pd.Categorical(np.resize(["x", "y"], n), categories=["x", "y", "never"]),
            "d": pd.date_range("2020-01-01", periods=n),
            "s": np.resize(["one", "two"], n),
        },
        index=pd.Index(range(100, 100 + n), name="row"),
    )

    made = ampute(data, 1.0, mech="MCAR", seed=1)

    assert {name: str(made.amp[name].dtype) for name in "iufdtk"} == {
        "i": "Int16",
        "u": "UInt8",
        "f": "float32",
        "t": "boolean",
        "k": "category",
        "d": str(data["d"].dtype),
    }
    assert made.amp["k"].cat.categories.tolist() == ["x", "y", "never"]
    assert made.amp["s"].dtype == data["s"].dtype
    pd.testing.assert_frame_equal(made.amp.isna(), made.where)
    assert (made.where.sum(axis=1) == 1).all()
    for name in data:
        seen = ~made.where[name]
        assert made.amp.loc[seen, name].tolist() == data.loc[seen, name].tolist()
    pd.testing.assert_frame_equal(made.data, data)


def test_replicates_are_the_same_in_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ampute(DATA, 0.3, [[0, 1, 1], [1, 0, 0]], seed=9)

    masks = made.replicates(6)
    monkeypatch.setattr(result, "CELLS", 1)
    one_by_one = made.replicates(4)

    np.testing.assert_array_equal(masks[:4], one_by_one)
    np.testing.assert_array_equal(masks[0], made.where[list(made.amputed)])
    assert len({mask.tobytes() for mask in masks}) == 6
    values = made.replicates(2, missing_as_float=True)
    np.testing.assert_array_equal(np.isnan(values), masks[:2])
    np.testing.assert_array_equal(values[~masks[:2]], np.stack([DATA] * 2)[~masks[:2]])


def test_a_seed_gives_the_same_holes_again() -> None:
    made = ampute(DATA, 0.3)

    pd.testing.assert_frame_equal(made.where, ampute(DATA, 0.3, seed=made.seed).where)
    assert not made.where.equals(ampute(DATA, 0.3, seed=made.seed + 1).where)


Bad = tuple[str, Any, dict[str, Any]]

BAD: dict[str, Bad] = {
    "all missing under MAR": ("E36: pattern 2 makes", DATA, {"patterns": [[0, 1, 1], [0, 0, 0]]}),
    "too many cells": ("E37: asked for 0.5 .* at most 0.333", DATA, {"by_cases": False}),
    "weight on a hole": (
        "E38: pattern 1: weight on 'a'",
        DATA,
        {"patterns": [[0, 1, 1]], "weights": [[1, 1, 0]]},
    ),
    "missing cells": ("E39: data has 2 missing cells, in 'a'", DATA.assign(a=DATA["a"][2:]), {}),
    "few scores": (
        "E39: scores have too few",
        DATA.assign(b=DATA["b"] > 1),
        {"patterns": [[0, 1, 1]], "weights": [[0, 1, 0]], "cont": False},
    ),
    "unknown column": ("E12.*'A'", DATA, {"patterns": pd.DataFrame({"A": [0]})}),
    "share": ("E57: prop must be a share", DATA, {"prop": 30}),
    "mechanism": ("E57: mech must be one of 'MCAR'", DATA, {"mech": "mar"}),
    "type": ("E57: type must be one of 'RIGHT'", DATA, {"type": "UP"}),
    "types": ("E57: type must be one name or", DATA, {"type": ["LEFT", "MID"]}),
    "frequencies": ("E57: freq must be 3 numbers", DATA, {"freq": [1, 2]}),
    "pattern": ("E57: patterns must be 0", DATA, {"patterns": [[0, 1, 2]]}),
    "width": ("E57: patterns must be a table of numbers with 3", DATA, {"patterns": [[0, 1]]}),
    "no holes": ("E57: no pattern has a hole", DATA, {"patterns": [[1, 1, 1]]}),
    "weights of MCAR": (
        "E57: weights have no meaning",
        DATA,
        {"mech": "MCAR", "weights": np.ones((3, 3))},
    ),
    "weights": ("E57: weights has 1 rows", DATA, {"weights": [[0, 1, 1]]}),
    "odds": ("E57: odds must be", DATA, {"cont": False, "odds": [-1, 2]}),
    "idle odds": ("E57: odds are for cont=False", DATA, {"odds": [1, 2]}),
    "seed": ("E57: seed must be", DATA, {"seed": -1}),
    "ids": (
        "E57: a weight on 's'",
        DATA.assign(s=DATA["a"].astype(str)),
        {"patterns": [[0, 1, 1, 1]], "weights": [[0, 0, 0, 1]]},
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_are_named(case: str) -> None:
    message, data, arguments = BAD[case]
    with pytest.raises(AmputeError, match=message):
        ampute(data, **arguments)
    with pytest.raises(AmputeError, match="E57: R must be"):
        ampute(DATA, seed=1).replicates(0)


@pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")
def test_real_data_with_categories_and_text() -> None:
    data = pd.read_csv(
        Path(os.environ["JAXMICE_DATA"]) / "impact.csv", na_values="", keep_default_na=False
    )

    with pytest.warns(JaxMiceWarning, match="W21"):
        made = jm.ampute(data, 0.4, mech="MNAR", seed=1)

    np.testing.assert_allclose(made.realised()["expected"], 0.4, atol=1e-12)
    assert made.amp.isna().any(axis=1).mean() == pytest.approx(0.4, abs=0.02)
    assert jm.flux(made.amp)["pobs"].between(0.9, 1).all()
