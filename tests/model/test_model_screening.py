"""Predictors that are taken out before the run."""

import numpy as np
import pandas as pd
import pytest
from model_data import events, make_school

from jaxmice.model import Term, setup


def logged(model) -> list[tuple[str, str, str]]:
    names = {
        "constant", "constant_filled", "collinear", "deterministic_pair", "perfect_prediction",
        "lindep", "df_small", "separation",
    }  # fmt: skip
    return [(e.event, e.dep, e.out) for e in model.events if e.event in names]


def test_constant_predictor(plain) -> None:
    plain["one"] = 3.5
    model = setup(plain, "norm")
    assert model.predictor_matrix["one"].tolist() == [0] * 5
    assert logged(model) == [("constant", "", "one")]


def test_constant_target_is_filled(plain) -> None:
    plain["one"] = pd.Categorical(["only"] * len(plain))
    plain.loc[4:6, "one"] = None
    kept = plain.copy()
    model = setup(plain)
    assert model.method["one"] == ""
    assert ("one",) not in {visit.targets for visit in model.visits}
    assert not model.frame.columns["one"].missing.any()
    assert set(model.frame.data["one"]) == {"only"}
    assert ("constant_filled", "one", "") in logged(model)
    pd.testing.assert_frame_equal(plain, kept)
    # Only the cells that are asked for.
    where = plain.isna()
    where.loc[5, "one"] = False
    filled = setup(plain, where=where).frame.columns["one"]
    assert np.flatnonzero(filled.missing).tolist() == [5]


def test_duplicate_predictor_with_fewer_values_goes(plain) -> None:
    plain["copy"] = -3 * plain["x"] + 1
    plain.loc[100:120, "copy"] = np.nan
    model = setup(plain, "norm", roles={"copy": "z"})
    gone = [e for e in logged(model) if e[0] == "collinear"]
    assert gone == [("collinear", "y", "copy"), ("collinear", "z", "copy")]
    assert setup(plain, "norm", screen="off").predictor_matrix.loc["y", "copy"] == 1


def test_of_equal_duplicates_the_later_goes(plain) -> None:
    plain.insert(0, "w", plain["x"])
    model = setup(plain, "norm")
    assert model.predictor_matrix.loc["y", ["w", "x"]].tolist() == [1, 0]


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_prediction_whatever_the_sign(plain, sign) -> None:
    plain["y2"] = sign * plain["y"]
    model = setup(plain, "norm")
    assert model.method["y2"] == "norm"
    assert model.predictor_matrix.loc["y", "y2"] == 0
    for pair in (("y", "y2"), ("y2", "y")):
        assert ("deterministic_pair", *pair) in logged(model)
        assert ("perfect_prediction", *pair) in logged(model)
    kept = setup(plain, "norm", keep_near_perfect=True)
    assert kept.predictor_matrix.loc["y", "y2"] == 1


def test_few_common_rows_are_no_evidence(plain) -> None:
    plain["rare"] = np.nan
    plain.loc[150:152, "rare"] = plain.loc[150:152, "y"]
    model = setup(
        plain,
        {"rare": "", "y": "norm"},
        on_missing_predictor="error",
        roles={"*": {"rare": "none"}},
    )
    assert logged(model) == []


def test_sums_are_found_among_the_fitted_rows(plain) -> None:
    plain["sum"] = 2 * plain["x"] - plain["w"] if "w" in plain else 2 * plain["x"]
    plain["w"] = np.random.default_rng(5).normal(size=len(plain))
    plain["sum"] = 2 * plain["x"] - plain["w"]
    # An exception where y is missing changes nothing for y.
    plain.loc[3, "sum"] += 5
    model = setup(plain, "norm")
    assert ("lindep", "y", "w") in logged(model)
    assert ("lindep", "z", "w") not in logged(model)
    (visit,) = (v for v in model.visits if v.targets == ("y",))
    assert Term("w") not in visit.fixed
    assert Term("sum") in visit.fixed
    assert model.predictor_matrix.loc["y", "w"] == 0
    assert setup(plain, "norm", screen="off").predictor_matrix.loc["y", "w"] == 1


def test_slopes_are_the_last_to_go(school) -> None:
    rng = np.random.default_rng(0)
    school["a"] = rng.normal(size=len(school))
    school["sum"] = school["a"] + school["iq"]
    model = setup(
        school,
        "2l.pan",
        {"popular": {"school": -2, "iq": 1, "a": 1, "sum": 2}},
        cluster="school",
    )
    assert logged(model) == [("lindep", "popular", "a")]


def test_same_dummies_under_another_name(plain) -> None:
    plain["d"] = plain["c"].cat.rename_categories({"a": "u", "b": "v", "c": "w"})
    plain["d"] = plain["d"].cat.reorder_categories(["w", "u", "v"])
    model = setup(plain, "norm")
    assert [e for e in logged(model) if e[1] == "y"] == [
        ("lindep", "y", "d=u"), ("lindep", "y", "d=v"),
    ]  # fmt: skip
    assert model.predictor_matrix.loc["y", "d"] == 0


def test_mean_of_a_column_that_does_not_vary_between_clusters(school) -> None:
    school["balanced"] = np.tile(np.linspace(-1.0, 1.0, 12), 30)
    model = setup(school, "2l.pan", {"popular": {"school": -2, "balanced": 4}}, cluster="school")
    assert logged(model) == [("lindep", "popular", "mean(balanced)")]
    assert model.predictor_matrix.loc["popular", "balanced"] == 2


@pytest.mark.parametrize("factor", [0.005, 1e-12, 1e9])
@pytest.mark.parametrize("method", [None, "norm"])
def test_units_do_not_matter(factor, method) -> None:
    data = make_school()
    data["iq2"] = data["iq"] * 1.0001
    data["both"] = data["iq"] / 15 + data["texp"]
    data.loc[::9, "iq"] = np.nan
    scaled = data.copy()
    scaled[["popular", "iq", "texp"]] *= factor
    dummies = {"*": {"school": "fixed"}} if method else None
    first, second = (setup(d, method, cluster="school", roles=dummies) for d in (data, scaled))
    assert first.visits == second.visits
    assert first.method == second.method
    assert logged(first) == logged(second)
    assert [e.event for e in first.events] == [e.event for e in second.events]


def test_shift_does_not_matter(plain) -> None:
    moved = plain.assign(x=plain["x"] * 1e-3 + 1e6)
    assert setup(plain, "norm").visits == setup(moved, "norm").visits


def test_ignored_rows_have_no_say(plain) -> None:
    plain["w"] = plain["x"]
    plain.loc[:59, "w"] = np.random.default_rng(0).normal(size=60)
    assert logged(setup(plain, "norm")) == []
    model = setup(plain, "norm", ignore=np.arange(200) < 60)
    assert ("collinear", "y", "w") in logged(model)


def test_separation(plain) -> None:
    plain["b"] = pd.Categorical(np.where(plain["x"] > 0, "yes", "no"))
    plain.loc[:10, "b"] = None
    model = setup(plain, {"b": "fake.bin", "y": "norm", "z": "norm"})
    assert [e.out for e in events(model, "separation")] == ["x"]
    plain["k"] = np.arange(len(plain)) % 10
    for name, told in (("2l.jomo", ["x"]), ("2l.pmm", [])):
        model = setup(plain, {"b": name, "y": "2l.pan", "z": "2l.pan"}, cluster="k")
        assert [e.out for e in events(model, "separation")] == told


def test_dummies_of_clusters_within_which_a_column_is_constant(school) -> None:
    # The column varies, but not where the target is observed.
    school["flag"] = school["popular"].isna().astype(float) + school["texp"] / 10
    model = setup(
        school,
        "norm",
        roles={"popular": {"school": "fixed", "flag": "fixed", "texp": "none"}},
        cluster="school",
    )
    assert logged(model) == [("lindep", "popular", "flag")]
