import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.errors import DataError
from jaxmice.missingness import check_icc, icc, missingness_table
from tests.statistics import FALSE_ALARM_RATE


def make(clusters: int = 40, size: int = 10) -> pd.DataFrame:
    """Return y that is missing by x within clusters and by z between them."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(clusters), size)
    x, z = rng.normal(size=len(g)), rng.normal(size=clusters)[g]
    lost = rng.random(len(g)) < 1 / (1 + np.exp(1 - x - z))
    k = np.resize(["p", "q", "r"], len(g))
    y = rng.normal(size=len(g))
    return pd.DataFrame({"g": g, "y": np.where(lost, np.nan, y), "x": x, "z": z, "k": k})


def test_differences_are_those_of_least_squares_with_robust_errors() -> None:
    sm = pytest.importorskip("statsmodels.api")
    data = make()
    table = missingness_table(data, "y", "g").set_index(["variable", "category"])

    lost = data["y"].isna().astype(float)
    assert list(table.index) == [("x", ""), ("z", ""), ("k", "q"), ("k", "r")]
    for name in ("x", "z"):
        fit = sm.OLS(data[name], sm.add_constant(lost)).fit(
            cov_type="cluster", cov_kwds={"groups": data["g"]}, use_t=True
        )
        row = table.loc[(name, "")]
        assert row["smd"] == pytest.approx(fit.params.iloc[1] / data[name].std())
        assert row["p"] == pytest.approx(fit.pvalues.iloc[1])
        difference = row["mean_missing"] - row["mean_observed"]
        assert difference == pytest.approx(fit.params.iloc[1])
    means = pd.DataFrame({"x": data["x"], "m": lost}).groupby(data["g"]).transform("mean")
    within = sm.OLS(data["x"] - means["x"], lost - means["m"]).fit()
    scale = (data["x"] - means["x"]).std()
    assert table.loc[("x", ""), "smd_within"] == pytest.approx(within.params.iloc[0] / scale)


def test_a_variable_of_clusters_differs_between_them_only() -> None:
    table = missingness_table(make(), "y", "g").set_index("variable")

    assert table.loc["z", ["smd_within", "p_within"]].isna().all()
    assert table.loc["z", "p_between"] < 0.01
    assert table.loc["x", "smd_within"] > 0.3
    assert table.loc["x", "p_within"] < 0.01


def test_pvalues_are_uniform_where_missingness_ignores_the_clusters_variable() -> None:
    # 400 variables of 30 clusters, whole clusters half missing or not: rows are far from
    # independent, and a test by rows would be significant nearly always.
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(30), 20)
    x = rng.normal(size=(400, 30))[:, g]
    y = np.where(rng.random(len(g)) < np.where(g < 15, 0.2, 0.8), np.nan, 1.0)
    data = pd.DataFrame(x.T, columns=[f"x{i}" for i in range(400)]).assign(g=g, y=y)

    by_cluster, by_row = missingness_table(data, "y", "g"), missingness_table(data, "y")

    # robust errors of 30 clusters are somewhat small: a rate of 0.1 at a level of 0.05 will do
    significant = int((by_cluster["p"] < 0.05).sum())
    assert stats.binomtest(significant, 400, 0.1, "greater").pvalue > FALSE_ALARM_RATE
    assert (by_row["p"] < 0.05).mean() > 0.4


def test_unusable_targets_are_named() -> None:
    with pytest.raises(DataError, match="E57: column 'x' needs both"):
        missingness_table(make(), "x")
    with pytest.raises(DataError, match=r"E12.*did you mean 'y'"):
        missingness_table(make(), "Y")


def test_advice_follows_the_interval() -> None:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(50), 200)
    u = rng.normal(size=50)[g]
    e = rng.normal(size=len(g))
    e = e - pd.Series(e).groupby(g).transform("mean").to_numpy()
    data = pd.DataFrame({"g": g, "none": e, "much": u + e, "k": np.resize(list("pqr"), len(g))})
    data["alone"] = np.where(np.arange(len(g)) < 2, [0.0, 1.0] * (len(g) // 2), np.nan)
    data.loc[::50, ["none", "much", "k"]] = np.nan

    advice = check_icc(data, "g").set_index("variable")["advice"]

    assert "will agree" in advice["none"]
    assert advice["much"] == "use a two-level method"
    assert advice["k"] == "no ICC, being nominal; a two-level method is safe"
    assert "too few" in advice["alone"]
    assert list(advice.index) == ["none", "much", "k", "alone"]
    assert check_icc(data[["g"]].assign(x=1), "g").empty


def test_icc_by_a_mixed_model_is_the_published_one() -> None:
    row = icc(jm.datasets.load_popmis(), "school", ["popular"], "reml").iloc[0]

    assert row["icc"] == pytest.approx(0.563, abs=5e-4)
    assert row["ci_low"] < row["icc"] < row["ci_high"]
    anova = icc(jm.datasets.load_popmis(), "school", ["popular"]).iloc[0]
    assert row["F"] == anova["F"]
    # the intervals answer the same question
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx(
        anova[["ci_low", "ci_high"]].tolist(), abs=0.01
    )


def test_latent_icc_of_a_binary_column() -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(400), 25)
    u = rng.normal(0, np.sqrt(np.pi**2 / 3 * 0.25 / 0.75), 400)[g]
    data = pd.DataFrame({"g": g, "y": (rng.random(len(g)) < 1 / (1 + np.exp(-u))).astype(int)})

    row = icc(data, "g", method="latent", conf=1 - FALSE_ALARM_RATE).iloc[0]

    assert row["ci_low"] < 0.25 < row["ci_high"] < 0.4
    with pytest.raises(DataError, match="E06: column 'x': method 'latent' needs two"):
        icc(data.assign(x=rng.normal(size=len(g))), "g", ["x"], "latent")


@pytest.mark.filterwarnings("ignore:W14")
def test_pooled_icc_is_that_of_every_imputation_when_these_agree() -> None:
    data = jm.datasets.load_popmis()[["school", "popular", "sex"]]
    data["popular"] = data["popular"].fillna(5.0)
    data.loc[0, "popular"] = np.nan
    imp = jm.mice(data, m=2, maxit=1, method={"popular": "mean"}, cluster="school", seed=1)

    table, pooled = icc(imp), icc(imp, pooled=True).iloc[0]

    assert pooled["icc"] == pytest.approx(table["icc"][1], rel=1e-9)
    assert pooled["fmi"] == pytest.approx(0, abs=1e-9)
    assert [pooled["ci_low"], pooled["ci_high"]] == pytest.approx(
        table.loc[1, ["ci_low", "ci_high"]].tolist(), abs=0.02
    )


def test_unknown_ways_are_named() -> None:
    data = make()
    with pytest.raises(ValueError, match="method must be one of anova"):
        icc(data, "g", method="ml")
    with pytest.raises(ValueError, match="pooled=True is for the result of an imputation"):
        icc(data, "g", pooled=True)


def test_propensity_is_that_of_a_logistic_regression() -> None:
    sm = pytest.importorskip("statsmodels.api")
    data = make().assign(twice=lambda d: 2 * d["x"] + d["z"], same=1.0, h=lambda d: d["y"])
    dummies = pd.get_dummies(data["k"], dtype=float).iloc[:, 1:]
    design = sm.add_constant(data[["g", "x", "z"]].join(dummies))
    fit = sm.Logit(data["y"].isna().astype(float), design).fit(disp=0)
    np.testing.assert_allclose(jm.propensity(data, "y"), fit.predict(), rtol=1e-5)

    coded = data.astype({"k": "category"})[["y", "x", "z", "k", "g"]]
    imp = jm.mice(coded, m=2, maxit=0, seed=1)
    np.testing.assert_allclose(jm.propensity(imp, "y"), fit.predict(), rtol=1e-5)
    with pytest.raises(DataError, match=r"E57.*'x' needs both"):
        jm.propensity(data, "x")


def test_propensity_knows_the_clusters() -> None:
    data = make()[["g", "y", "x"]]  # without z, what clusters have in common is unexplained
    share = data["y"].isna().groupby(data["g"]).transform("mean")
    flat, mixed = jm.propensity(data[["y", "x"]], "y"), jm.propensity(data, "y", "g")
    by_cluster = mixed.groupby(data["g"]).transform("mean")
    assert np.corrcoef(by_cluster, share)[0, 1] > 0.95
    # The mode of an effect is where the score of its normal prior meets that of the data.
    surplus = (data["y"].isna() - mixed).groupby(data["g"]).sum()
    logit = np.log(mixed / (1 - mixed))
    slope = np.polyfit(data["x"] - data["x"].groupby(data["g"]).transform("mean"), logit, 1)[0]
    effect = (logit - slope * data["x"]).groupby(data["g"]).first()
    assert np.corrcoef(surplus, effect)[0, 1] > 1 - 1e-6
    assert ((data["y"].isna() - flat) ** 2).sum() > ((data["y"].isna() - mixed) ** 2).sum()
