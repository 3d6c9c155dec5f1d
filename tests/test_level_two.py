"""Level-2 columns through the front door: exact predictive laws, and means in their units."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.errors import DataError
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.filterwarnings("ignore:W")

J = 14
SIZES = np.array([5, 2, 7, 1, 4, 6, 3, 8, 2, 5, 4, 3, 6, 5])
EMPTY = (3, 8)


def clusters() -> pd.DataFrame:
    """Return rows with ids as text, in random order; w is constant in clusters."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(J), SIZES)
    x = 50 + 10 * (rng.normal(size=J)[g] + rng.normal(size=len(g)))
    v = rng.normal(size=J)
    mean = np.bincount(g, x) / SIZES
    w = (300 + 4 * mean + 20 * v + 15 * rng.normal(size=J)).round(1)
    data = pd.DataFrame({"g": [f"c{j}" for j in g], "x": x, "v": v[g], "w": w[g]})
    data["w"] = data["w"].mask(np.isin(g, EMPTY))
    return data.sample(frac=1, random_state=2, ignore_index=True)


def call(**more: Any) -> dict[str, Any]:
    return {"cluster": "g", "seed": 4, "precision": "float64"} | more


def test_imputations_follow_the_predictive_law_of_the_table_of_clusters() -> None:
    """Student's t with J - p degrees of freedom, in the units of the data.

    Wrong twin: a cluster that counts as often as it has rows.
    """
    data = clusters()
    imp = jm.mice(data, m=2_000, method={"w": "2lonly.norm"}, **call())
    table = data.groupby("g").agg(x=("x", "mean"), v=("v", "first"), w=("w", "first"))

    def pvalue(repeat: np.ndarray) -> float:
        seen = table["w"].notna().to_numpy()
        X = np.column_stack([np.ones(J), table["x"], table["v"]])
        part, y = np.repeat(X[seen], repeat[seen], axis=0), table["w"].to_numpy()[seen]
        y = np.repeat(y, repeat[seen])
        V = np.linalg.inv(part.T @ part)
        beta = V @ part.T @ y
        df = len(y) - 3
        s2 = np.sum((y - part @ beta) ** 2) / df
        pvalues = []
        for j in EMPTY:
            row = data.index[data["g"] == f"c{j}"][0]
            at = X[list(table.index).index(f"c{j}")]
            scale = np.sqrt(s2 * (1 + at @ V @ at))
            z = (imp.imp["w"].loc[row].to_numpy(float) - at @ beta) / scale
            pvalues.append(stats.kstest(z, stats.t(df).cdf).pvalue)
        return bonferroni(pvalues)

    size = table.index.map(data["g"].value_counts()).to_numpy()
    assert pvalue(np.ones(J, int)) > FALSE_ALARM_RATE
    assert pvalue(size) < FALSE_ALARM_RATE
    inside = imp.imp["w"].groupby(data["g"]).nunique()
    assert (inside == 1).all(axis=None)


def test_group_means_are_in_step_and_in_the_units_of_the_user() -> None:
    data = clusters().drop(columns=["v", "w"])
    data.loc[::4, "x"] = np.nan
    data["mean_x"], data["latent_x"] = np.nan, np.nan
    method = {"x": "2l.pan", "mean_x": "2l.groupmean", "latent_x": "2l.latentgroupmean"}
    own = {"g": "cluster", "x": "random", "mean_x": "none", "latent_x": "none"}
    roles = {"x": {"mean_x": "none", "latent_x": "none"}, "mean_x": own, "latent_x": own}
    imp = jm.mice(data, m=20, maxit=3, method=method, roles=roles, **call())
    latent = []
    for i in range(1, 21):
        completed = imp.complete(i)
        mean = completed.groupby("g")["x"].transform("mean")
        np.testing.assert_allclose(completed["mean_x"], mean, rtol=1e-9)
        latent.append(completed["latent_x"] - mean)
    # Latent means scatter about the others, shrunken and drawn, without a shift of their own.
    spread = np.std(latent)
    assert 1 < spread < 8
    assert abs(np.mean(latent)) < spread / 2


@pytest.mark.parametrize("holes", [(), (0, 9)], ids=["complete", "incomplete"])
def test_cluster_means_leave_ignored_rows_out_unless_all_are(holes: tuple[int, ...]) -> None:
    data = clusters().drop(columns=["v", "w"])
    ignore = ((data["g"] == "c4") | (data.index % 7 == 3)).to_numpy(copy=True)
    ignore[list(holes)] = False
    counting = ~ignore | (data["g"] == "c4")
    mean = data["g"].map(data["x"][counting].groupby(data["g"]).mean())
    exact = 3 + 2 * data["x"] + 5 * mean
    data["y"] = exact.mask(data.index % 3 == 0)
    data.loc[list(holes), "x"] = np.nan
    # Without noise predictions are exact, for new clusters too: those of x, then those of y.
    roles = {"y": {"x": "fixed+mean"}, "x": {"y": "fixed+mean"}}
    imp = jm.mice(
        data,
        m=1,
        maxit=1,
        method="norm.predict",
        roles=roles,
        ignore=ignore,
        screen="off",
        visit_sequence=["x", "y"] if holes else ["y"],
        init=data.assign(x=0.0, y=exact),
        **call(),
    )
    apart = imp.complete(1)["y"] - exact
    assert np.abs(apart[data["y"].isna()]).max() < 1e-3


def test_rows_that_show_a_value_in_part_are_completed_or_refused() -> None:
    data = clusters()
    row = data.index[data["g"] == "c0"][0]
    shown = data.loc[row, "w"]
    data.loc[row, "w"] = np.nan
    model = jm.setup(data, {"w": "2lonly.norm"}, cluster="g")
    assert model.frame.columns["w"].values[row] == shown
    with pytest.raises(DataError, match=r"E20.*'w' differs inside clusters 'c0'"):
        jm.setup(data, {"w": "2lonly.norm"}, cluster="g", deductive=False)
