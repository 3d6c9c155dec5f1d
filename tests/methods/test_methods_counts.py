"""Counts through the public API: which columns are taken, and what is imputed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import ModelError

J, N = 40, 12
EMPTY = 3
"""A cluster without any observed count."""


def counts(seed: int = 0) -> pd.DataFrame:
    """Return counts with large differences between clusters, a quarter of them missing."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(J), N)
    x = rng.normal(size=J * N)
    y = rng.poisson(np.exp(1.5 + rng.normal(size=J)[g] + 0.3 * x)).astype(float)
    y[rng.random(J * N) < 0.25] = np.nan
    y[g == EMPTY] = np.nan
    return pd.DataFrame({"g": g, "x": x, "y": y})


def impute(data: pd.DataFrame, method: str, **options: Any) -> Any:
    return jm.mice(data, 8, {"y": method}, cluster="g", roles={"y": {"x": "fixed"}}, **options)


@pytest.mark.parametrize(("value", "told"), [(-1.0, "-1.0"), (2.5, "2.5")])
def test_a_value_that_is_no_count_is_refused(value: float, told: str) -> None:
    data = counts()
    data.loc[data["y"].first_valid_index(), "y"] = value
    with pytest.raises(ModelError, match=rf"E22: .*whole numbers from 0 on.*'y' has {told}"):
        jm.setup(data, {"y": "2l.pois"}, cluster="g")


@pytest.fixture(scope="module")
def imputed() -> Any:
    return impute(counts(), "2l.pois", seed=1)


def test_counts_are_imputed_given_the_values_of_their_cluster(imputed: Any) -> None:
    """Imputed cluster means follow the observed ones; drawn as if there were none they cannot."""
    data = counts()
    means = []
    for i in range(1, 9):
        done = imputed.complete(i)["y"]
        assert np.all((done >= 0) & (done == np.round(done)))
        missing = data["y"].isna() & (data["g"] != EMPTY)
        means.append(done[missing].groupby(data["g"]).mean())
    own = data["y"].groupby(data["g"]).mean()
    found = np.mean(means, axis=0)
    assert np.corrcoef(own.drop(EMPTY).reindex(means[0].index), found)[0, 1] > 0.9


def test_an_empty_cluster_differs_between_imputations(imputed: Any) -> None:
    """Its effect comes from the population: means of twelve counts as far apart as clusters."""
    data = counts()
    rows = data["g"] == EMPTY
    drawn = [np.log(imputed.complete(i)["y"][rows].mean() + 0.1) for i in range(1, 9)]
    assert np.std(drawn) > 0.3


def test_a_shift_multiplies_the_means() -> None:
    """``delta`` is on the logarithmic scale; rows that count for nothing are imputed too."""
    data = counts()
    ignore = np.arange(len(data)) % 10 == 0
    plain = impute(data, "2l.pois", seed=1, ignore=ignore)
    moved = impute(data, "2l.pois", seed=1, ignore=ignore, post={"y": jm.post.delta(np.log(3))})
    rows = data["y"].isna()
    ratio = [
        np.mean([imp.complete(i)["y"][rows].mean() for i in range(1, 9)]) for imp in (plain, moved)
    ]
    assert ratio[1] / ratio[0] == pytest.approx(3, rel=0.15)


def test_columns_of_whole_type_keep_it() -> None:
    data = counts().astype({"y": "Int64"})
    done = impute(data, "2l.pois", seed=2).complete(1)["y"]
    assert done.dtype == "Int64"
    assert not done.isna().any()


def test_counts_far_beyond_the_observed_are_told(imputed: Any) -> None:
    """A predictor that lies far outside of all others sends the mean of its row there."""
    assert "far_counts" not in set(imputed.logged_events["event"])
    data = counts()
    data.loc[np.flatnonzero(data["y"].isna())[0], "x"] = 25.0
    with pytest.warns(match="far_counts"):
        far = impute(data, "2l.pois", seed=1)
    told = far.logged_events.set_index("event").loc[["far_counts"]]
    assert told["dep"].tolist() == ["y"]
    assert "of 'y' are more than 10 times the largest observed one" in told["message"].iloc[0]
