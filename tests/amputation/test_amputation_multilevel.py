import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.amputation import Level2, Sporadic, Systematic, ampute, multilevel_ampute, result
from jaxmice.errors import AmputeError, DataError, JaxMiceWarning
from tests.statistics import FALSE_ALARM_RATE

J, SIZE = 60, 25


def make(seed: int = 1, clusters: int = J, size: int = SIZE) -> pd.DataFrame:
    """Return y, x, w that vary within clusters, and z, which does not."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(clusters), size)
    n = len(g)
    x = rng.normal(size=clusters)[g] + rng.normal(size=n)
    return pd.DataFrame(
        {
            "g": [f"c{j}" for j in g],
            "y": x + rng.normal(size=n),
            "x": x,
            "w": rng.lognormal(size=n),
            "z": rng.normal(size=clusters)[g],
        }
    )


DATA = make()
CODES = np.repeat(np.arange(J), SIZE)


def critical(tests: int) -> float:
    return float(stats.norm.isf(FALSE_ALARM_RATE / 2 / tests))


def centred(column: str, data: pd.DataFrame = DATA) -> np.ndarray:
    return (data[column] - data.groupby("g")[column].transform("mean")).to_numpy()


def test_share_is_exact_whatever_the_mechanism() -> None:
    for layer in (
        Sporadic("y", 0.3),
        Sporadic("y", 0.3, weights={"w": 1}, type="MID", strength=3),
        Sporadic("y", 0.3, within={"x": 1}, between={"z": -1}, icc=0.4, type="LEFT"),
        Sporadic(["y", "x"], 0.3, weights={"y": 1}, mech="MNAR", type="TAIL"),
    ):
        made = multilevel_ampute(DATA, "g", layer, seed=1)
        assert made.prob.mean() == pytest.approx(0.3, abs=1e-12)
        assert made.realised()["expected"].item() == pytest.approx(0.3, abs=1e-12)


def test_shares_count_the_clusters_that_do_not_miss_the_column() -> None:
    made = multilevel_ampute(
        DATA,
        "g",
        [Sporadic("y", 0.3, weights={"w": 1}, freq=3), Sporadic("x", 0.1, freq=1)],
        Systematic("y", n_clusters=20),
        seed=1,
    )

    table = made.cluster_table["y"]
    assert table["systematic"].sum() == 20
    assert (table["realised"][table["systematic"]] == 1).all()
    # three of four rows are candidates, so that these have 0.4 to make 0.3 of all rows
    assert made.realised()["asked"].tolist() == pytest.approx([20 / J, 0.4, 0.4])
    holes = made.replicates(300)[..., made.amputed.index("y")].mean(axis=1)
    t = (holes.mean() - (1 / 3 + 2 / 3 * 0.3)) / (holes.std(ddof=1) / np.sqrt(300))
    assert abs(t) < stats.t.isf(FALSE_ALARM_RATE / 2, 299)


def test_scores_are_within_and_between_parts() -> None:
    layer = Sporadic("y", 0.3, within={"x": 2}, between={"z": 1, "w": -1})
    made = multilevel_ampute(DATA, "g", layer, seed=1)

    z, w = (DATA.groupby("g", sort=False)[name].mean() for name in "zw")
    z, w = (((v - v.mean()) / v.std(ddof=0)).to_numpy()[CODES] for v in (z, w))
    x = centred("x")
    raw = 2 * x / x.std() + z - w
    np.testing.assert_allclose(made.scores, (raw - raw.mean()) / raw.std(), atol=1e-10)
    log_odds = np.log(made.prob / (1 - made.prob))
    np.testing.assert_allclose(np.diff(log_odds - made.scores), 0, atol=1e-9)


def test_mar_does_not_see_what_goes_missing() -> None:
    # Given the probability, which is made of columns that stay, the holes are coin tosses:
    # they are correlated with nothing, in no cluster and over none.
    data = make(2, 200, 100)
    layer = Sporadic(["y", "w"], 0.3, within={"x": 1}, between={"z": 1}, icc=0.3)
    made = multilevel_ampute(data, "g", layer, seed=3)

    noise = (made.where["y"] - made.prob).to_numpy()
    spread = (made.prob * (1 - made.prob)).to_numpy()
    codes = np.repeat(np.arange(200), 100)
    checks = []
    for column in (data["y"], data["x"], np.log(data["w"]), data["z"], centred("y", data)):
        terms = np.asarray(column - np.mean(column))
        checks.append((noise @ terms) / np.sqrt(spread @ terms**2))
    assert np.abs(checks).max() < critical(len(checks))
    y = centred("y", data)
    by_cluster = np.bincount(codes, noise * y) / np.sqrt(np.bincount(codes, spread * y**2))
    assert stats.chi2.sf(by_cluster @ by_cluster, 200) > FALSE_ALARM_RATE
    # and the probability is a function of x, z and the cluster alone
    twin = data.assign(y=np.random.default_rng(0).normal(size=len(data)), w=data["x"] ** 2)
    again = multilevel_ampute(twin, "g", layer, seed=3)
    pd.testing.assert_series_equal(made.prob, again.prob)


def test_mnar_sees_what_goes_missing() -> None:
    layer = Sporadic("y", 0.3, weights={"y": 1}, mech="MNAR")
    made = multilevel_ampute(DATA, "g", layer, seed=1)

    holes = made.where["y"]
    assert DATA["y"][holes].mean() > DATA["y"][~holes].mean() + 0.5
    assert np.corrcoef(made.scores, DATA["y"])[0, 1] == pytest.approx(1)


def test_a_mechanism_for_every_cluster() -> None:
    names = DATA["g"].unique()
    weights = pd.DataFrame({"w": np.where(np.arange(J) < 30, 1.0, 0.0)}, index=names)
    shares = pd.Series(np.linspace(0.05, 0.8, J), index=names)
    layer = Sporadic("y", weights_by_cluster=weights, prop_by_cluster=shares)

    made = multilevel_ampute(DATA, "g", layer, seed=1)

    by_cluster = made.prob.groupby(DATA["g"], sort=False)
    np.testing.assert_allclose(by_cluster.mean(), shares, atol=1e-12)
    spread = by_cluster.std().to_numpy()
    assert (spread[:30] > 0.01).all()
    assert (spread[30:] < 1e-12).all()
    np.testing.assert_allclose(made.cluster_table[("y", "intended")], shares, atol=1e-12)


def test_weights_that_deviate_by_cluster() -> None:
    layer = Sporadic("y", 0.4, within={"x": 0.0}, weights_sd={"x": 2.0})
    made = multilevel_ampute(make(4, 400, 10), "g", layer, seed=1)

    x = centred("x", make(4, 400, 10)).reshape(400, 10)
    slopes = (x * made.scores.to_numpy().reshape(400, 10)).sum(axis=1) / (x**2).sum(axis=1)
    # the score of a cluster is exactly linear in x, and slopes are normal around zero
    rest = made.scores.to_numpy().reshape(400, 10) - slopes[:, None] * x
    assert np.ptp(rest, axis=1).max() < 1e-10
    assert stats.kstest(slopes / slopes.std(), "norm").pvalue > FALSE_ALARM_RATE
    assert abs(stats.ttest_1samp(slopes, 0).statistic) < stats.t.isf(FALSE_ALARM_RATE / 2, 399)


@pytest.mark.parametrize("icc", [0.1, 0.5])
def test_latent_variance_between_clusters(icc: float) -> None:
    clusters = 2000
    made = multilevel_ampute(make(5, clusters, 2), "g", Sporadic("y", 0.3, icc=icc), seed=1)

    u = made.cluster_table[("sporadic 1", "u")].to_numpy()
    variance = icc / (1 - icc) * np.pi**2 / 3
    p = stats.chi2.cdf(u @ u / variance, clusters)
    assert FALSE_ALARM_RATE / 2 < p < 1 - FALSE_ALARM_RATE / 2
    log_odds = np.log(made.prob / (1 - made.prob)).to_numpy().reshape(clusters, 2)[:, 0]
    np.testing.assert_allclose(np.diff(log_odds - u), 0, atol=1e-9)


def test_whole_clusters_are_missed_in_exact_number_with_exact_probabilities() -> None:
    layer = Systematic("y", n_clusters=12, between={"z": 1}, strength=1.5)
    made = multilevel_ampute(DATA, "g", systematic=layer, seed=1)

    runs = 3000
    missed = made.replicates(runs)[..., 0].reshape(runs, J, SIZE)
    assert (missed.all(axis=2) == missed.any(axis=2)).all()
    assert (missed[:, :, 0].sum(axis=1) == 12).all()
    p = made.cluster_table[("systematic 1", "prob")].to_numpy()
    assert p.sum() == pytest.approx(12)
    z = (missed[:, :, 0].mean(axis=0) - p) / np.sqrt(p * (1 - p) / runs)
    assert np.abs(z).max() < critical(J)
    # log-odds of slope 1.5 in the standardised cluster value
    value = DATA["z"].to_numpy()[::SIZE]
    slope = np.polyfit((value - value.mean()) / value.std(), np.log(p / (1 - p)), 1)[0]
    assert slope == pytest.approx(1.5)


def test_shares_of_clusters_hold_in_expectation_or_exactly() -> None:
    free = multilevel_ampute(DATA, "g", systematic=Systematic("y", 0.25), seed=1)
    counts = free.replicates(500)[..., 0].sum(axis=1) / SIZE
    z = (counts.mean() - 15) / np.sqrt(J * 0.25 * 0.75 / 500)
    assert abs(z) < critical(1)
    assert counts.std() > 0

    exact = multilevel_ampute(DATA, "g", systematic=Systematic("y", 0.25), exact=True, seed=1)
    assert (exact.replicates(50)[..., 0].sum(axis=1) == 15 * SIZE).all()

    named = multilevel_ampute(DATA, "g", systematic=Systematic("y", clusters=["c3", "c7"]), seed=1)
    assert DATA["g"][named.where["y"]].unique().tolist() == ["c3", "c7"]


def test_values_of_clusters_go_missing_for_all_their_rows() -> None:
    layer = Level2("z", 0.3, between={"x": 1}, type="TAIL")
    made = multilevel_ampute(DATA.sample(frac=1, random_state=1), "g", level2=layer, seed=1)

    types = jm.cluster_missing(made.amp, "g").summary.loc["z"]
    assert types["sporadic"] == 0
    assert types["systematic"] == made.cluster_table[("z", "systematic")].sum() > 0
    assert made.realised().loc["level2 1", "expected"] == pytest.approx(0.3)
    assert not made.where.drop(columns="z").any(axis=None)


def test_layers_have_streams_of_their_own() -> None:
    whole, scattered = Systematic("w", 0.3), Sporadic("y", 0.3, within={"x": 1}, icc=0.2)

    both = multilevel_ampute(DATA, "g", scattered, whole, Level2("z", 0.2), seed=1)

    alone = multilevel_ampute(DATA, "g", scattered, seed=1)
    pd.testing.assert_series_equal(both.where["y"], alone.where["y"])
    alone = multilevel_ampute(DATA, "g", systematic=whole, seed=1)
    pd.testing.assert_series_equal(both.where["w"], alone.where["w"])
    alone = multilevel_ampute(DATA, "g", level2=Level2("z", 0.2), seed=1)
    pd.testing.assert_series_equal(both.where["z"], alone.where["z"])


def test_replicates_are_the_same_in_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    made = multilevel_ampute(
        DATA,
        "g",
        [Sporadic("y", 0.2, within={"x": 1}, weights_sd={"x": 1}, icc=0.2), Sporadic("w", 0.3)],
        Systematic("y", 0.1),
        Level2("z", n_clusters=7),
        min_obs=18,
        seed=9,
    )

    masks = made.replicates(5)
    monkeypatch.setattr(result, "CELLS", 1)

    np.testing.assert_array_equal(masks, made.replicates(5))
    np.testing.assert_array_equal(masks[0], made.where[list(made.amputed)])
    assert made.amputed == ("y", "w", "z")
    again = multilevel_ampute(DATA, "g", Sporadic("y"), seed=9)
    assert again.where.equals(multilevel_ampute(DATA, "g", Sporadic("y"), seed=9).where)


def test_enough_values_stay_in_every_cluster() -> None:
    layer = Sporadic(["y", "w"], 0.8, within={"x": 1}, icc=0.3)
    free = multilevel_ampute(DATA, "g", layer, seed=1)
    made = multilevel_ampute(DATA, "g", layer, min_obs=8, seed=1)

    left = (~made.where["y"]).groupby(DATA["g"], sort=False).sum()
    before = (~free.where["y"]).groupby(DATA["g"], sort=False).sum()
    assert (left == np.maximum(before, 8)).all()
    assert made.where["y"].equals(made.where["w"])
    undone = free.where["y"] & ~made.where["y"]
    assert made.realised()["undone"].item() == undone.sum() == (left - before).sum() > 0
    for _, rows in DATA.groupby("g"):
        kept = made.prob[rows.index][made.where["y"][rows.index]]
        dropped = made.prob[rows.index][undone[rows.index]]
        assert dropped.max() < kept.min() or dropped.empty or kept.empty


def test_enough_clusters_keep_the_column() -> None:
    layers = [Systematic("y", 0.9), Systematic("y", clusters=["c1", "c2"])]
    made = multilevel_ampute(DATA, "g", systematic=layers, min_clusters_observed=20, seed=1)

    lost = made.cluster_table[("y", "systematic")]
    assert (~lost).sum() == 20
    assert lost[["c1", "c2"]].all()
    assert made.realised()["undone"].tolist()[1] == 0 < made.realised()["undone"].tolist()[0]

    scattered = multilevel_ampute(DATA, "g", Sporadic("y", 1.0), min_clusters_observed=60, seed=1)
    assert ((~scattered.where["y"]).groupby(DATA["g"]).sum() == 1).all()


def test_the_table_of_clusters_counts_the_holes() -> None:
    made = multilevel_ampute(
        DATA, "g", Sporadic("y", 0.3, icc=0.5), Systematic("y", n_clusters=6), seed=2
    )

    table = made.cluster_table
    assert (table["size"] == SIZE).all()
    share = made.where["y"].groupby(DATA["g"], sort=False).mean()
    np.testing.assert_allclose(table[("y", "realised")], share)
    mean = table[("y", "intended")].mean()
    assert mean == pytest.approx(0.1 + 0.9 * 0.3)
    found = made.icc_missing().set_index("variable").loc["y", "icc"]
    assert found == jm.icc(made.where.assign(g=DATA["g"]), "g", ["y"])["icc"].item() > 0.3
    assert "sporadic 1" in repr(made)


def test_inconsistent_holes_are_deduced_again() -> None:
    made = multilevel_ampute(
        DATA, "g", Sporadic("z", 0.3), allow_inconsistent=True, min_obs=1, seed=1
    )

    assert jm.cluster_missing(made.amp, "g").summary.loc["z", "branch"] == "deductive"


def test_scores_that_are_constant_or_of_categories_are_pointed_out() -> None:
    with pytest.warns(JaxMiceWarning, match="W23: the scores of 'systematic 1' are constant"):
        multilevel_ampute(
            DATA.assign(x=1.0), "g", systematic=Systematic("y", 0.2, between={"x": 1}), seed=1
        )
    with pytest.warns(JaxMiceWarning, match="W21: categories of 'k'"):
        multilevel_ampute(
            DATA.assign(k=np.resize(list("pqr"), len(DATA))),
            "g",
            Sporadic("y", weights={"k": 1}),
            seed=1,
        )


Bad = tuple[str, dict[str, Any]]

BAD: dict[str, Bad] = {
    "nothing": ("E57: nothing to do", {}),
    "layer": ("E57: expected one or a list of Sporadic", {"sporadic": Systematic("y", 0.2)}),
    "column": (
        "E12: sporadic 1: column 'Y' not found; did you mean 'y'",
        {"sporadic": Sporadic("Y")},
    ),
    "term": ("E12: .*'X' not found", {"sporadic": Sporadic("y", weights={"X": 1})}),
    "cluster label": ("E12: cluster 'c99'", {"systematic": Systematic("y", clusters=["c99"])}),
    "cluster column": ("E57: .* cluster column 'g'", {"sporadic": Sporadic("g")}),
    "varies": (
        "E14: level2 1: column 'y' .* varies in clusters 'c0', 'c1'",
        {"level2": Level2("y", 0.2)},
    ),
    "constant": ("E20: sporadic 1: column 'z' is constant", {"sporadic": Sporadic("z")}),
    "own value": ("E38: sporadic 1: weight on 'y'", {"sporadic": Sporadic("y", weights={"y": 1})}),
    "lost value": (
        "E38: sporadic 1: weight on 'x'",
        {"sporadic": Sporadic("y", weights={"x": 1}), "systematic": Systematic("x", 0.2)},
    ),
    "own mean": (
        "E38: sporadic 1: weight on the cluster mean of 'y'",
        {"sporadic": Sporadic("y", between={"y": 1})},
    ),
    "mean of a hole": (
        "E38: sporadic 1: weight on the cluster mean of 'x'",
        {"sporadic": [Sporadic("y", 0.2, within={"x": 1}), Sporadic("x", 0.2)]},
    ),
    "lost mean": (
        "E38: systematic 1: weight on the cluster mean of 'x'",
        {"systematic": Systematic("y", 0.2, between={"x": 1}), "sporadic": Sporadic("x")},
    ),
    "level 2 within": ("E57: .*'z' do not vary", {"sporadic": Sporadic("y", within={"z": 1})}),
    "too few candidates": (
        "E37: sporadic 1: asked for 0.6 of the rows, but only 0.5",
        {"sporadic": [Sporadic("y", 0.6), Sporadic("x", 0.1)]},
    ),
    "frequencies": (
        "E57: freq: give it for all",
        {"sporadic": [Sporadic("y", 0.2, freq=1), Sporadic("x", 0.2)]},
    ),
    "clusters left": (
        "E40: column 'y': 1 clusters would keep data, min_clusters_observed=2",
        {"systematic": Systematic("y", n_clusters=J - 1)},
    ),
    "named clusters left": (
        "E40: column 'y': 59 clusters",
        {"systematic": Systematic("y", clusters=["c1"]), "min_clusters_observed": J},
    ),
    "shares by cluster": (
        "E57: sporadic 1: prop_by_cluster lacks clusters 'c0', 'c2'",
        {"sporadic": Sporadic("y", prop_by_cluster={"c1": 0.2})},
    ),
    "guard": ("E57: min_obs must be", {"sporadic": Sporadic("y"), "min_obs": -1}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_are_named(case: str) -> None:
    message, arguments = BAD[case]
    with pytest.raises(AmputeError, match=message):
        multilevel_ampute(DATA, "g", **arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Sporadic, {"vars": []}, "vars must name"),
        (Sporadic, {"vars": "y", "prop": 30}, "prop must be a share"),
        (Sporadic, {"vars": "y", "mech": "MAR"}, "MAR without weights"),
        (Sporadic, {"vars": "y", "mech": "MCAR", "weights": {"x": 1}}, "MCAR with weights"),
        (Sporadic, {"vars": "y", "icc": 1}, "icc must be from 0"),
        (Sporadic, {"vars": "y", "icc": 0.1, "prop_by_cluster": {}}, "icc must be 0 with"),
        (Sporadic, {"vars": "y", "weights_sd": {"x": 1}}, r"weights_sd of \['x'\] need weights"),
        (Sporadic, {"vars": "y", "freq": 0}, "freq must be above 0"),
        (Sporadic, {"vars": "y", "type": "UP"}, "type must be one of"),
        (Sporadic, {"vars": "y", "strength": np.inf}, "strength must be finite"),
        (Systematic, {"vars": "y"}, "pass one of prop, n_clusters and clusters"),
        (Systematic, {"vars": "y", "prop": 0.1, "n_clusters": 2}, "pass one of"),
        (Level2, {"vars": "z", "n_clusters": 1.5}, "n_clusters must be an integer"),
        (Level2, {"vars": "z", "clusters": [1], "between": {"x": 1}}, "nothing to chance"),
    ],
)
def test_bad_layers_are_named(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AmputeError, match=f"E57: {kind.__name__}.*{message}"):
        kind(**arguments)


def test_unusable_data_are_named() -> None:
    with pytest.raises(AmputeError, match="E39: data has 3 missing cells, in 'x'"):
        multilevel_ampute(DATA.assign(x=DATA["x"][3:]), "g", Sporadic("y"))
    with pytest.raises(DataError, match="E12: cluster 'h' not found"):
        multilevel_ampute(DATA, "h", Sporadic("y"))


@pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")
def test_real_studies_with_a_mechanism_of_their_own() -> None:
    data = pd.read_csv(
        Path(os.environ["JAXMICE_DATA"]) / "impact.csv", na_values="", keep_default_na=False
    )
    studies = data["name"].unique()
    ages = pd.DataFrame({"age": np.resize([1.0, 0.0], len(studies))}, index=studies)
    made = jm.multilevel_ampute(
        data,
        "name",
        [
            jm.Sporadic("pupil", 0.2, weights={"age": 1, "mort": 1}, icc=0.1),
            jm.Sporadic("hypots", 0.1, weights_by_cluster=ages),
        ],
        jm.Systematic(["ct", "edh"], n_clusters=4, between={"age": 1}),
        jm.Level2("type", n_clusters=2),
        seed=1,
    )

    summary = jm.cluster_missing(made.amp, "name").summary
    assert summary.loc[["ct", "edh", "type"], "systematic"].tolist() == [4, 4, 2]
    assert summary.loc["pupil", "share"] == pytest.approx(0.2, abs=0.02)
    assert summary.loc["hypots", "share"] == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(made.realised()["expected"], made.realised()["asked"], atol=1e-12)
    schools = pd.read_csv(Path(os.environ["JAXMICE_DATA"]) / "bdf.csv")
    layer = jm.Sporadic("langPOST", 0.25, within={"IQ.verb": -1}, between={"ses": -1}, icc=0.2)
    made = jm.multilevel_ampute(schools, "schoolNR", layer, min_obs=2, seed=1)
    assert (
        made.where["langPOST"].groupby(schools["schoolNR"]).apply(lambda x: (~x).sum()).min() >= 2
    )


def test_holes_can_be_pickled() -> None:
    for holes in (
        ampute(make(), 0.3, seed=1),
        multilevel_ampute(make(), "g", sporadic=Sporadic("y", 0.3), seed=1),
    ):
        again = pickle.loads(pickle.dumps(holes))
        np.testing.assert_array_equal(again.replicates(3), holes.replicates(3))
