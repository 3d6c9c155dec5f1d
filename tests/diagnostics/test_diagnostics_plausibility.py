import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, ks_2samp

import jaxmice as jm
from jaxmice.diagnostics.overimpute import Overimputed
from jaxmice.diagnostics.rerun import held_out
from jaxmice.errors import DataError, RunError
from jaxmice.imputed import ImputedData
from tests.frames import two_level

METHOD = {"y": "2l.pan", "x": "2l.pan"}

quiet = pytest.mark.filterwarnings("ignore::jaxmice.errors.JaxMiceWarning")
"""For models that are meant to be wrong."""


@pytest.fixture(scope="module")
def imp() -> ImputedData:
    return jm.mice(two_level(["y", "x"]), m=4, maxit=2, cluster="g", method=METHOD, seed=1)


@pytest.fixture(scope="module")
def many() -> ImputedData:
    """Forty clusters of twelve whose true model is the one that imputes them."""
    data = two_level(["y"], clusters=40, size=12, seed=5)
    return jm.mice(data, m=2, maxit=1, cluster="g", method="2l.pan", seed=1)


@pytest.fixture(scope="module")
def over(many: ImputedData) -> Overimputed:
    return many.overimpute("y", n=19, alpha=0.2, folds=4)


def test_compare_agrees_with_tables_by_hand(imp: ImputedData) -> None:
    row = imp.compare("y").iloc[0]

    observed, drawn = imp.data["y"].dropna(), imp.imp["y"].to_numpy()
    assert (row["n_observed"], row["n_imputed"]) == (len(observed), len(drawn))
    assert row["mean_observed"] == pytest.approx(observed.mean())
    assert row["sd_imputed"] == pytest.approx(drawn.ravel().std(ddof=1))
    assert row["q25_imputed"] == pytest.approx(np.quantile(drawn, 0.25))
    assert row["std_diff"] == pytest.approx((drawn.mean() - observed.mean()) / observed.std())
    assert row["var_ratio"] == pytest.approx(drawn.ravel().var(ddof=1) / observed.var())
    assert row["ks"] == pytest.approx(ks_2samp(observed, drawn.ravel()).statistic)
    low, high = observed.min(), observed.max()
    assert row["outside"] == pytest.approx(((drawn < low) | (drawn > high)).sum() / 4)
    table = jm.icc(imp, columns=["y"])["icc"]
    assert row["icc_observed"] == pytest.approx(table[0])
    assert row["icc_completed"] == pytest.approx(table[1:].mean())


def test_compare_by_groups_looks_at_their_rows_only(imp: ImputedData) -> None:
    half = np.where(imp.data["w"] > 0, "high", "low")

    table = imp.compare(["x", "y"], by=half).set_index(["variable", "group"])

    high = imp.data.loc[half == "high", "y"]
    assert table.loc[("y", "high"), "mean_observed"] == pytest.approx(high.mean())
    cells = imp.imp["y"]
    drawn = cells[cells.index.isin(high.index)].to_numpy()
    assert table.loc[("y", "high"), "mean_imputed"] == pytest.approx(drawn.mean())
    assert table["n_imputed"].groupby(level=0).sum()["y"] == len(cells)


@quiet
def test_compare_counts_shares_of_categories_and_clusters_once() -> None:
    data = two_level([]).assign(c="a", v=0.0)
    data.loc[data["x"] > 0, "c"] = "b"
    data["v"] = data.groupby("g")["w"].transform("first").astype(float)
    data.loc[::5, "c"] = None
    data.loc[data["g"] < 3, "v"] = np.nan
    imp = jm.mice(
        data, m=2, maxit=0, method={"c": "logreg", "v": "2lonly.norm"}, cluster="g", seed=1
    )

    table = imp.compare().set_index(["variable", "category"])

    shares = data["c"].value_counts(normalize=True)
    assert table.loc[("c", "b"), "mean_observed"] == pytest.approx(shares["b"])
    assert table.loc["c", "mean_imputed"].sum() == pytest.approx(1)
    assert table.loc[("v", ""), ["n_observed", "n_imputed"]].tolist() == [9, 3]


def test_overimputed_cells_are_the_observed_ones_and_are_not_used(
    many: ImputedData, over: Overimputed
) -> None:
    cells = over.cells.set_index("row")
    observed = many.data["y"].dropna()
    pd.testing.assert_series_equal(cells["observed"], observed, check_names=False)
    assert (cells["cluster"] == many.data.loc[cells.index, "g"]).all()

    # A cell that is held out may be anything without its own draws changing.
    row = observed.index[7]
    wild = many.data.copy()
    wild.loc[row, "y"] += 1.0
    mask = np.zeros(wild.shape, bool)
    mask[row, list(wild.columns).index("y")] = True
    again = jm.mice(wild, m=2, maxit=1, cluster="g", method="2l.pan", seed=1)
    first, second = (result.overimpute("y", mask, n=19).cells.iloc[0] for result in (many, again))
    assert second["observed"] == pytest.approx(first["observed"] + 1)
    np.testing.assert_allclose(
        second[["mean", "low", "high"]].astype(float), first[["mean", "low", "high"]].astype(float)
    )


def test_overimputed_shows_its_coverage_and_not_every_cell(over: Overimputed) -> None:
    head, titles, *rows = repr(over).splitlines()
    assert head == f"Overimputed: {len(over.cells)} observed cells, intervals at {over.level:.0%}"
    assert titles.split() == list(over.coverage)
    assert len(rows) == len(over.coverage)


def test_overimputation_covers_what_it_promises(over: Overimputed) -> None:
    # Independent cells would be binomial; a false alarm once in 10,000 of these.
    row = over.coverage.iloc[0]
    n = int(row["cells"])
    low, high = binom.ppf([5e-5, 1 - 5e-5], n, 0.8)

    assert low <= row["covered"] * n <= high
    assert over.level == pytest.approx(0.8)
    assert (over.cells["low"] < over.cells["mean"]).all()
    assert (over.cells["mean"] < over.cells["high"]).all()
    totals = (over.by_cluster["covered"] * over.by_cluster["cells"]).sum()
    assert totals == pytest.approx(row["covered"] * n)


@quiet
def test_a_model_that_ignores_the_clusters_misses_whole_clusters(many: ImputedData) -> None:
    flat = jm.mice(many.data.drop(columns="g"), m=2, maxit=1, method="norm", seed=1)

    single = flat.overimpute("y", n=19, folds=4).cells
    two = many.overimpute("y", n=19, folds=4).cells

    def spread(cells: pd.DataFrame) -> float:
        cluster = many.data["g"][cells["row"]].to_numpy()
        return float((cells["mean"] - cells["observed"]).groupby(cluster).mean().std())

    assert spread(single) > 1.5 * spread(two)


def test_what_is_computed_from_a_held_out_cell_is_held_out_too() -> None:
    data = two_level(["y"]).assign(square=lambda d: d["y"] ** 2)
    model = jm.setup(data, {"y": "norm"}, passive={"square": "y**2"})
    mask = np.zeros(len(data), bool)
    mask[1] = True

    columns = held_out(model, {"y": mask}).frame.columns

    assert columns["square"].missing[1]
    assert np.isnan(columns["square"].values[1])
    assert not columns["square"].missing[2]


@quiet
def test_clusters_are_held_out_whole_where_a_column_is_theirs() -> None:
    data = two_level([])
    data["v"] = data.groupby("g")["w"].transform("first")
    data.loc[data["g"] < 2, "v"] = np.nan
    imp = jm.mice(data, m=2, maxit=1, method={"v": "2lonly.norm"}, cluster="g", seed=1)

    cells = imp.overimpute(n=19).cells

    assert cells["cluster"].tolist() == list(range(2, 12))


def test_ppc_is_content_with_the_right_model_and_not_with_a_wrong_one(many: ImputedData) -> None:
    skewed = many.data.assign(y=np.exp(1.5 * many.data["y"]))
    wrong = jm.mice(skewed, m=2, maxit=1, cluster="g", method="2l.pan", seed=1)
    statistic = {"mean": np.mean, "min": np.min}

    right = many.ppc(statistic, n_rep=19).set_index("statistic")
    found = wrong.ppc(statistic, n_rep=19).set_index("statistic")

    assert ((right["p"] > 0) & (right["p"] < 1)).all()
    assert found.loc["min", "p"] == 0  # no replication is above: a normal model goes below zero
    assert right.loc["mean", "observed"] == pytest.approx(many.data["y"].mean())
    assert (right["low"] < right["mean"]).all()
    assert (right["mean"] < right["high"]).all()


def test_ppc_by_cluster_has_a_row_for_every_cluster(many: ImputedData) -> None:
    table = many.ppc(np.mean, n_rep=19, by_cluster=True)

    means = many.data.groupby("g")["y"].mean()
    assert table["cluster"].tolist() == list(range(40))
    np.testing.assert_allclose(table["observed"], means)
    assert ((table["p"] > 0) & (table["p"] < 1)).mean() > 0.9


def test_equal_statistics_count_half(many: ImputedData) -> None:
    assert many.ppc(len, n_rep=19)["p"].tolist() == [0.5]
    assert many.ppc(lambda x: np.nan, n_rep=19)["p"].isna().all()


def test_what_cannot_be_checked_is_said(imp: ImputedData) -> None:
    with pytest.raises(DataError, match=r"E12.*'w' is not drawn"):
        imp.overimpute("w")
    with pytest.raises(DataError, match=r"E12.*'w' was not imputed"):
        imp.compare("w")
    with pytest.raises(DataError, match=r"E12.*'v' not found"):
        imp.compare(by="v")
    with pytest.raises(DataError, match=r"E46.*2 labels|E46.*got 2"):
        imp.compare(by=["a", "b"])
    with pytest.raises(DataError, match=r"E20.*shape"):
        imp.overimpute(cells=np.ones((2, 2), bool))
    with pytest.raises(DataError, match=r"E20.*no observed cell"):
        imp.overimpute(cells=imp.data.isna())
    with pytest.raises(ValueError, match="alpha between 0 and 1"):
        imp.overimpute(alpha=0)
    with pytest.raises(ValueError, match="n_rep"):
        imp.ppc(np.mean, n_rep=1)
    with pytest.raises(TypeError, match="statistic must be a function"):
        imp.ppc("mean")
    start = jm.mice(imp.data, m=2, maxit=0, cluster="g", method=METHOD, seed=1)
    with pytest.raises(RunError, match=r"E71.*maxit=0"):
        start.overimpute()


@quiet
def test_unordered_categories_and_single_levels_are_refused_by_name() -> None:
    data = two_level([]).assign(c=np.resize(["a", "b", "c", None], 96))
    imp = jm.mice(data.drop(columns="g"), m=2, maxit=0, method="sample", seed=1)

    with pytest.raises(DataError, match=r"E06.*unordered"):
        imp.ppc(np.mean, "c")
    with pytest.raises(DataError, match=r"E12.*by_cluster"):
        imp.ppc(np.mean, by_cluster=True)


@quiet
def test_a_cluster_is_not_emptied_under_fixed_clusters() -> None:
    data = two_level([])
    data.loc[data.index % 8 != 0, "y"] = np.nan
    imp = jm.mice(
        data,
        m=2,
        maxit=1,
        method="norm",
        predictor_matrix={"y": {"g": 1, "w": 1}},
        cluster="g",
        seed=1,
    )

    with pytest.raises(DataError, match=r"E24.*no value in clusters"):
        imp.overimpute()


@pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")
def test_real_schools_are_found_again() -> None:
    d = pd.read_csv(Path(os.environ["JAXMICE_DATA"]) / "brandsma.csv")[["sch", "iqv", "lpo"]]
    imp = jm.mice(d, m=2, maxit=2, method="2l.pan", cluster="sch", seed=1)

    result = imp.overimpute("lpo", n=19, alpha=0.1, folds=4).coverage.set_index("variable")

    assert result.loc["lpo", "cells"] == d["lpo"].notna().sum()
    assert result.loc["lpo", "covered"] == pytest.approx(0.9, abs=0.03)
