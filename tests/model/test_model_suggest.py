"""Imputation models from the analysis model, and predictors by correlation."""

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from tests.frames import two_level


@pytest.fixture(scope="module")
def popmis() -> pd.DataFrame:
    data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    data.loc[::9, "sex"] = np.nan
    return data


FORMULA = "popular ~ sex * texp + (1 + sex | school)"


def test_slopes_and_interactions_from_both_sides(popmis: pd.DataFrame) -> None:
    found = jm.suggest(popmis, "school", FORMULA)
    assert found.formulas == {
        "popular": "popular ~ sex + mean(sex) + texp + sex:texp + (1 + sex | school)",
        "sex": "sex ~ popular + mean(popular) + texp + texp:popular + texp:mean(popular) "
        "+ (1 + popular | school)",
    }
    assert found.method["sex"] == "2l.bin"
    assert found.predictor_matrix.loc["popular", ["sex", "texp", "sex:texp"]].tolist() == [4, 1, 1]
    assert any("expect a small bias" in text for text in found.advice)
    words = str(found)
    assert all(text in words for text in found.formulas.values())
    assert "the outcome" in words
    assert "2l.bin: two categories" in words
    assert set(found.notes["term"]) >= {"sex:texp", "slope of sex", "mean(popular)"}


def test_code_gives_the_same_model(popmis: pd.DataFrame) -> None:
    found = jm.suggest(popmis, "school", FORMULA)
    call = found.code().replace("jm.mice", "jm.setup").replace("m=20,", "")
    names = {"jm": jm, "data": popmis}
    exec(call, names)  # the code is the subject of the test
    assert names["imp"].visits == found.model.visits


def test_composite_columns_are_computed() -> None:
    rng = np.random.default_rng(1)
    data = two_level(("x",))
    data["w"] = data["w"] + 10
    data["ratio"] = data["x"] / data["w"] ** 2
    data["noise"] = rng.normal(size=len(data))
    found = jm.suggest(data, "g", "ratio ~ z + (1 | g)", mincor=0.9)
    assert found.passive == {"ratio": "x / w**2"}
    assert "ratio" not in found.formulas["x"].split("~")[1]
    assert " w " in found.formulas["x"]


def test_few_clusters_have_no_room_for_means() -> None:
    data = two_level(("y",), clusters=4, size=24)
    with pytest.warns(jm.errors.JaxMiceWarning, match="W08"):
        found = jm.suggest(data, "g", "y ~ x + w + (1 | g)", auxiliary=[])
    assert found.formulas["y"] == "y ~ x + w + (1 | g)"
    assert "mean(w), mean(x)" in found.advice[0]


def test_too_many_terms_for_the_clusters() -> None:
    data = two_level(("y",), clusters=5, size=24)
    for k in range(4):
        data[f"c{k}"] = np.random.default_rng(k).normal(size=5)[data["g"]]
    with pytest.warns(jm.errors.JaxMiceWarning) as caught:
        jm.suggest(data, "g", "y ~ c0 + c1 + c2 + c3 + (1 | g)", auxiliary=[])
    assert any("W30: 'y': 5 clusters" in str(warning.message) for warning in caught)


def test_dummies_and_selection() -> None:
    data = two_level(("y",))
    dummies = jm.suggest(data, "g", "y ~ x + C(g)", auxiliary=[])
    assert dummies.formulas["y"] == "y ~ x + g"
    assert dummies.method["y"] == "pmm"
    mnar = {"y": {"selection": ["w"]}}
    chosen = jm.suggest(data, "g", "y ~ x + (1 | g)", auxiliary=[], mnar=mnar)
    assert chosen.method["y"] == "2l.heckman"
    assert chosen.predictor_matrix.loc["y", ["g", "w", "x"]].tolist() == [-2, -3, 1]
    with pytest.warns(jm.errors.JaxMiceWarning, match="W31"):
        jm.suggest(data, "g", "y ~ x + (1 | g)", auxiliary=[], mnar={"y": {}})
    with pytest.raises(jm.errors.ModelError, match=r"E17: mnar: 'y'"):
        jm.suggest(data, "g", "y ~ x + (1 | g)", mnar={"y": {"selection": ["y"]}})
    for method, cluster in (("2l.heckman", "g"), ("heckman", None)):
        with pytest.warns(jm.errors.JaxMiceWarning, match="W31: the selection model of 'y'"):
            jm.setup(data[["g", "x", "y"]], {"y": method}, cluster=cluster)


def test_an_incomplete_column_that_predicts_selection_is_imputed_too() -> None:
    data = two_level(("y",))
    data.loc[data.index % 7 == 0, "w"] = np.nan
    chosen = jm.suggest(data, "g", "y ~ x + (1 | g)", auxiliary=[], mnar={"y": {"selection": "w"}})
    assert chosen.method["w"]
    assert chosen.predictor_matrix.loc["y", "w"] == -3
    assert chosen.predictor_matrix.loc["w", "y"] != 0
    with pytest.raises(jm.errors.ModelError, match=r"E27: mnar\['y'\]: 'v' not in data"):
        jm.suggest(data, "g", "y ~ x + (1 | g)", mnar={"y": {"selection": ["v"]}})
    for wrong, message in (
        (
            {"y": {"selektion": ["z"]}},
            r"mnar\['y'\]: 'selektion' unknown; did you mean",
        ),
        ({"y": ["z"]}, r"mnar\['y'\] must be a mapping"),
        (["y"], "mnar must be a mapping"),
        ({"x": {"selection": ["z"]}}, "mnar: 'x' has no missing values"),
    ):
        with pytest.raises(jm.errors.ModelError, match=f"E27: {message}"):
            jm.suggest(data, "g", "y ~ x + (1 | g)", mnar=wrong)


def test_what_predicts_selection_is_shown_with_its_associations() -> None:
    """Partial correlations are those of regressions with one dummy for every cluster."""
    sm = pytest.importorskip("statsmodels.formula.api")
    data = two_level(("y",))
    data.loc[data["w"] + np.sin(np.arange(len(data))) > 0.9, "y"] = np.nan
    data.loc[data["g"] == 1, "y"] = np.nan
    data["class"] = pd.cut(data["z"], 3, labels=["a", "b", "c"], ordered=False)
    mnar = {"y": {"selection": ["class", "w"]}}
    found = jm.suggest(data, "g", "y ~ x + (1 | g)", auxiliary=[], mnar=mnar)
    rows = data[data["g"] != 1].assign(seen=lambda d: d["y"].notna().astype(float))
    told = [text for text in found.advice if "being observed" in text]
    assert [text.split(" and ")[0] for text in told] == ["class = b", "class = c", "w"]
    for response in ("seen", "y"):
        used = rows[rows[response].notna()]
        fit = sm.ols(f"{response} ~ w + x + Q('class') + C(g)", used).fit()
        r = fit.tvalues["w"] / np.sqrt(fit.tvalues["w"] ** 2 + fit.df_resid)
        low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(fit.df_resid - 1))
        assert f"{r:.2f} ({low:.2f} to {high:.2f})" in told[2]
    alone = jm.suggest(
        data.assign(w=data["g"] / 2), "g", "y ~ x + (1 | g)", auxiliary=[], mnar=mnar
    )
    assert "w and y: w is constant in clusters" in str(alone)


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ("log(y) ~ x", "E27"),
        ("y ~ x + (1 | w)", "E18"),
        ("y ~ y", "E17"),
        ("y ~ foo(x)", "E18"),
        ("g ~ x", "E18"),
    ],
)
def test_complaints(formula: str, code: str) -> None:
    with pytest.raises(jm.errors.ModelError, match=code):
        jm.suggest(two_level(), "g", formula)


def test_quickpred_by_hand() -> None:
    rng = np.random.default_rng(2)
    n = 60
    data = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    data["b"] += data["a"]
    data.loc[data["c"] > 0.8, "a"] = np.nan
    found = jm.quickpred(data, mincor=0.3)
    seen = data["a"].notna()
    by_hand = {
        k: max(abs(data["a"].corr(data[k])), abs(seen.astype(float).corr(data[k]))) > 0.3
        for k in "bcd"
    }
    assert {k: bool(found.loc["a", k]) for k in "bcd"} == by_hand
    assert by_hand["b"]
    assert by_hand["c"]
    assert not found.drop(index="a").to_numpy().any()
    forced = jm.quickpred(data, mincor=0.3, include="d", exclude=["b"])
    assert forced.loc["a"].tolist() == [0, 0, 1, 1]
    data.loc[seen[~seen].index[: max(1, (~seen).sum() // 2 + 1)], "c"] = np.nan
    assert jm.quickpred(data, mincor=0.3, minpuc=0.6).loc["a", "c"] == 0
    with pytest.raises(jm.errors.ModelError, match="E51"):
        jm.quickpred(data, mincor=2)
    with pytest.raises(jm.errors.ModelError, match="E27"):
        jm.quickpred(data, include="q")


def test_quickpred_between_clusters() -> None:
    data = two_level(("y",), clusters=40, size=6, seed=3)
    u = data.groupby("g")["y"].transform("mean")
    data["level2"] = u + 0.01 * data["g"] % 0.02
    found = jm.quickpred(data, mincor=0.8, cluster="g")
    assert found.loc["y", "g"] == -2
    assert found.loc["y", "level2"] == 1
