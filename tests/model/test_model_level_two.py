"""Set-up of level-2 targets and of columns that are computed from others."""

import numpy as np
import pandas as pd
import pytest
from model_data import events, make_school

from jaxmice.errors import JaxMiceWarning, ModelError
from jaxmice.model import setup


@pytest.fixture
def clusters() -> pd.DataFrame:
    """Return 12 schools; experience and kind of school are missing in some of them."""
    data = make_school(J=12, size=6).drop(columns="pupil")
    data["rural"] = pd.Categorical(np.where(data["school"].cat.codes % 3 == 0, "yes", "no"))
    data.loc[data["school"] == "s01", "texp"] = np.nan
    data.loc[data["school"].isin(["s02", "s03"]), "rural"] = np.nan
    return data


def means(model) -> dict[str, set[str]]:
    return {
        visit.targets[0]: {str(t.column) for t in visit.fixed if t.mean} for visit in model.visits
    }


def test_level_1_predictors_enter_as_cluster_means(clusters) -> None:
    model = setup(clusters, cluster="school")
    assert model.method["texp"] == "2lonly.norm"
    assert model.method["rural"] == "2lonly.bin"
    assert means(model)["texp"] == {"popular", "sex", "iq"}
    visit = next(visit for visit in model.visits if visit.targets == ("texp",))
    assert visit.random == ()
    assert "rural" in {term.column for term in visit.fixed if not term.mean}
    assert model.predictor_matrix.loc["texp"].tolist() == [-2, 1, 1, 1, 0, 1]


def test_codes_of_a_level_2_target(clusters) -> None:
    with pytest.warns(JaxMiceWarning, match=r"W12.*'2lonly.norm' of 'texp' has no random slopes"):
        model = setup(clusters, cluster="school", roles={"texp": {"iq": "random+mean"}})
    assert model.predictor_matrix.loc["texp", "iq"] == 3
    with pytest.raises(ModelError, match=r"E22.*'2lonly.norm' imputes columns of level 2"):
        setup(clusters, {"popular": "2lonly.norm"}, cluster="school")
    with pytest.raises(ModelError, match=r"E22.*'2l.pan' imputes columns of level 1.*levels="):
        setup(clusters, {"texp": "2l.pan"}, cluster="school")


def test_a_mean_needs_clusters(clusters) -> None:
    with pytest.raises(ModelError, match=r"E23.*'2lonly.mean' of 'popular' needs clusters"):
        setup(clusters.drop(columns="school"), {"popular": "2lonly.mean"})
    with pytest.raises(ModelError, match=r"E22.*'2lonly.norm' imputes columns of level 2"):
        setup(clusters.drop(columns="school"), {"popular": "2lonly.norm"})


def test_sizes_are_counted_in_clusters(clusters) -> None:
    model = setup(clusters, cluster="school")
    sizes = {event.dep: event.message for event in events(model, "df_small")}
    assert sizes["texp"] == "'texp' has 11 observed clusters for 5 predictors"
    assert "popular" not in sizes
    clusters.loc[~clusters["school"].isin(["s00", "s05"]), "texp"] = np.nan
    with pytest.raises(ModelError, match=r"E16.*'texp': 2 clusters show a value"):
        setup(clusters, cluster="school")


def test_cells_that_no_row_of_the_cluster_shows_stay_missing(clusters) -> None:
    method = {"texp": "2lonly.mean", "rural": "2lonly.mean"}
    none = {"popular": {"texp": "none", "rural": "none"}}
    model = setup(clusters, method, cluster="school", roles=none)
    left = {event.dep: event.message for event in events(model, "left_missing")}
    assert left["texp"].startswith("6 cells of 'texp' stay missing: no row of clusters 's01'")
    assert left["rural"].startswith("12 cells of 'rural'")
    names = list(clusters.columns)
    assert not model.where[:, [names.index("texp"), names.index("rural")]].any()
    with pytest.raises(ModelError, match=r"E19.*'texp' stays missing"):
        setup(clusters, method, cluster="school")


def test_errors_in_a_level_2_column_are_left_to_the_mean(clusters) -> None:
    """A column that differs in a cluster is level 1; the mean may fill it nevertheless."""
    clusters.loc[6:9, "texp"] = [4.0, 4, 4, 3.5]
    model = setup(
        clusters, {"texp": "2lonly.mean", "rural": ""}, cluster="school",
        roles={"popular": {"rural": "none"}},
    )  # fmt: skip
    assert model.levels["texp"] == 1
    assert not events(model, "left_missing")


def test_a_computed_column_needs_no_value_and_predicts(clusters) -> None:
    clusters["mean_iq"] = np.nan
    clusters.loc[::7, "iq"] = np.nan
    own = {column: "none" for column in ("popular", "sex", "texp", "rural")}
    roles = {"mean_iq": {"iq": "random", **own}, "iq": {"mean_iq": "none"}}
    model = setup(clusters, {"mean_iq": "2l.groupmean"}, cluster="school", roles=roles)
    visit = next(visit for visit in model.visits if visit.targets == ("mean_iq",))
    assert [term.column for term in visit.random] == [None, "iq"]
    assert model.predictor_matrix.loc["popular", "mean_iq"] > 0
    assert not [event for event in model.events if event.dep == "mean_iq" and event.out]
    with pytest.raises(ModelError, match=r"E25.*'mean_iq'.*exactly one predictor of code 2"):
        setup(clusters, {"mean_iq": "2l.groupmean"}, cluster="school")
