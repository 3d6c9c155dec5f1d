"""From codes to the columns of the designs."""

import numpy as np
import pandas as pd
import pytest
from model_data import events, make_school

from jaxmice.model import Term, Visit, setup

I = Term(None)  # noqa: E741


def visit(data: pd.DataFrame, codes: dict[str, int], **arguments) -> Visit:
    matrix = {"popular": {"school": -2} | codes}
    arguments = {"method": {"popular": "2l.pan"}, "cluster": "school"} | arguments
    model = setup(data, predictor_matrix=matrix, **arguments)
    (found,) = (v for v in model.visits if v.targets == ("popular",))
    return found


@pytest.mark.parametrize(
    ("codes", "random", "fixed"),
    [
        ({}, [I], []),
        ({"sex": 1}, [I], [Term("sex")]),
        ({"sex": 2}, [I, Term("sex")], []),
        ({"sex": 3}, [I], [Term("sex"), Term("sex", mean=True)]),
        ({"sex": 4}, [I, Term("sex")], [Term("sex", mean=True)]),
        (
            {"texp": 1, "iq": 4, "sex": 3},
            [I, Term("iq")],
            [Term("sex"), Term("texp"), Term("sex", mean=True), Term("iq", mean=True)],
        ),
    ],
)
def test_codes_of_a_two_level_method(school, codes, random, fixed) -> None:
    found = visit(school, codes)
    assert list(found.random) == random
    assert list(found.fixed) == fixed


@pytest.mark.parametrize(
    ("intercept", "random", "fixed"),
    [
        ("random", [I, Term("sex")], [Term("iq")]),
        ("fixed", [Term("sex")], [I, Term("iq")]),
        (False, [Term("sex")], [Term("iq")]),
    ],
)
def test_intercept(school, intercept, random, fixed) -> None:
    for key in ("popular", "*"):
        found = visit(school, {"sex": 2, "iq": 1}, options={key: {"intercept": intercept}})
        assert (list(found.random), list(found.fixed)) == (random, fixed)


def test_centred_columns(school) -> None:
    found = visit(school, {"sex": 4, "iq": 3, "texp": 1}, group_center=True)
    assert found.random == (I, Term("sex", centered=True))
    assert found.fixed == (
        Term("iq", centered=True), Term("texp"), Term("sex", mean=True), Term("iq", mean=True),
    )  # fmt: skip


def test_dummies_inherit_the_code(school) -> None:
    rng = np.random.default_rng(0)
    school["type"] = pd.Categorical(rng.choice(["a", "b", "c"], len(school)))
    found = visit(school, {"type": 4})
    assert found.random == (I, Term("type", 1), Term("type", 2))
    assert found.fixed == (Term("type", 1, mean=True), Term("type", 2, mean=True))


def test_single_level_methods_have_fixed_terms_only(school) -> None:
    with pytest.warns(match="W14"):
        found = visit(school, {"school": 0, "sex": 1, "iq": 3}, method={"popular": "norm"})
    assert found.random == ()
    assert found.fixed == (I, Term("sex"), Term("iq"), Term("iq", mean=True))


def test_code_1_on_the_cluster_absorbs_dummies(school) -> None:
    model = setup(
        school,
        method="norm",
        roles={"popular": {"school": "fixed", "sex": "fixed", "iq": "mean", "texp": "fixed"}},
        cluster="school",
    )
    (found,) = model.visits
    assert found.absorb
    assert found.random == ()
    assert found.fixed == (Term("sex"), Term("iq"))
    assert [event.out for event in events(model, "lindep")] == ["mean(iq)", "texp"]
    assert model.predictor_matrix.loc["popular"].to_dict() == {
        "school": 1, "pupil": 0, "popular": 0, "sex": 1, "iq": 1, "texp": 0,
    }  # fmt: skip


def test_level_2_target_sees_cluster_means() -> None:
    data = make_school()
    data["popular"] = data["popular"].fillna(0)
    data.loc[data["school"].isin(["s00", "s05"]), "texp"] = np.nan
    model = setup(data, method="fake.level2", cluster="school")
    (found,) = model.visits
    means = [Term(name, mean=True) for name in ("popular", "sex", "iq")]
    assert found.fixed == (I, *means)
    assert found.random == ()


@pytest.mark.parametrize(
    ("code", "event", "kept"),
    [
        (3, ["mean_of_level2"], 1),
        (2, ["slope_of_level2"], 1),
        (4, ["mean_of_level2", "slope_of_level2"], 1),
    ],
)
def test_level_2_predictors_have_neither_mean_nor_slope(school, code, event, kept) -> None:
    model = setup(school, "2l.pan", {"popular": {"school": -2, "texp": code}}, cluster="school")
    assert model.predictor_matrix.loc["popular", "texp"] == kept
    assert [e.event for e in model.events if e.out == "texp"] == event


def test_a_slope_of_a_column_that_hardly_varies_is_reported(school) -> None:
    school["nearly"] = school["texp"]
    school.loc[[0, 15], "nearly"] += 1.0
    model = setup(school, "2l.pan", {"popular": {"school": -2, "nearly": 2}}, cluster="school")
    assert model.predictor_matrix.loc["popular", "nearly"] == 2
    assert len(events(model, "slope_weakly_identified")) == 1


@pytest.mark.filterwarnings("ignore:W14")
def test_default_codes_respect_the_method(school) -> None:
    codes = {
        method: setup(school, method, cluster="school").predictor_matrix.loc["popular"]
        for method in ("fake.slopes", "sample", "2l.pan")
    }
    assert codes["fake.slopes"][["school", "sex", "texp"]].tolist() == [-2, 2, 2]
    assert not codes["sample"].any()
    assert codes["2l.pan"][["school", "pupil", "sex", "texp"]].tolist() == [-2, 0, 3, 1]
