"""Rules of passive columns in the set-up: order, levels, what is known, what is refused."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from model_data import events

from jaxmice.errors import DataError, ModelError
from jaxmice.model import setup

pytestmark = pytest.mark.filterwarnings("ignore:W1[34]")

METHOD = {"height": "norm", "weight": "norm", "y": "norm"}
BMI = {"bmi": "weight / height**2"}


@pytest.fixture
def people() -> pd.DataFrame:
    """Ten clusters of six: height, weight and y incomplete; bmi, size and tall to compute."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(10), 6)
    height = 1.7 + 0.1 * rng.normal(size=60)
    weight = 22 * height**2 + 8 * rng.normal(size=60)
    data = pd.DataFrame({"g": g, "height": height, "weight": weight, "age": rng.normal(size=60)})
    data["y"] = data["age"] + rng.normal(size=60)
    data.loc[::5, "weight"] = np.nan
    data.loc[1::6, "height"] = np.nan
    data.loc[2::7, "y"] = np.nan
    data["bmi"] = data["weight"] / data["height"] ** 2
    return data


def model(data: pd.DataFrame, passive=BMI, **options):
    return setup(data, METHOD, passive=passive, **{"cluster": "g"} | options)


def test_a_rule_may_stand_among_the_methods(people) -> None:
    one = setup(people, METHOD | {"bmi": "~ weight / height^2"}, cluster="g")
    assert one.rules[0].function.tree == model(people).rules[0].function.tree
    assert one.method["bmi"] == one.passive["bmi"] == "~ weight / height^2"
    assert one.visit_sequence == ("height", "weight", "y")
    in_order = ["", "norm", "norm", "", "norm", "~ weight / height**2"]
    assert setup(people, in_order, cluster="g").rules == model(people).rules
    assert "~ weight / height**2" in str(model(people))


def test_computed_columns_are_never_drawn(people) -> None:
    found = model(people, where="all", visit_sequence=["y", "bmi", "weight", "height"])
    assert found.visit_sequence == ("y", "weight", "height")
    np.testing.assert_array_equal(found.where[:, 5], people["bmi"].isna())
    assert "bmi" not in {name for visit in found.visits for name in visit.targets}


def test_circular_codes_are_removed_unless_they_are_explicit(people) -> None:
    found = model(people)
    codes = found.predictor_matrix
    assert codes.loc[["height", "weight"], "bmi"].tolist() == [0, 0]
    assert codes.loc["y", "bmi"] == 1
    assert [e.dep for e in events(found, "circular_removed")] == ["height", "weight"]
    kept = model(people, roles={"weight": {"bmi": "fixed"}})
    assert kept.predictor_matrix.loc["weight", "bmi"] == 1
    assert [e.dep for e in events(kept, "circular_removed")] == ["height"]


def test_circular_codes_are_found_through_other_rules(people) -> None:
    data = people.assign(heavy=np.nan)
    found = model(data, {"heavy": "(bmi > 25) * age", **BMI})
    assert [rule.target for rule in found.rules] == ["bmi", "heavy"]
    codes = found.predictor_matrix
    assert codes.loc[["height", "weight"], "heavy"].tolist() == [0, 0]
    assert codes.loc["y", "heavy"] == 1


def test_what_observed_values_tell_is_filled_in(people) -> None:
    data = people.copy()
    known = data["bmi"].notna()
    data["bmi"] = np.nan
    found = model(data)
    assert found.where[:, 5].sum() == (~known).sum()
    np.testing.assert_array_equal(found.frame.data["bmi"][known], people["bmi"][known])
    assert "from observed values" in events(found, "deduced")[0].message
    assert data["bmi"].isna().all()


def test_a_rule_over_complete_columns_leaves_nothing_to_compute(people) -> None:
    found = model(people.assign(square=np.nan), {"square": "age^2"})
    assert found.rules == ()
    np.testing.assert_array_equal(found.frame.data["square"], people["age"] ** 2)


@pytest.mark.parametrize(
    ("text", "level"),
    [("mean(weight)", 2), ("size()", 2), ("mean(weight) * age", 1), ("weight", 1), ("z + 1", 2)],
)
def test_the_level_of_a_rule_is_that_of_its_ingredients(people, text, level) -> None:
    data = people.assign(new=np.nan, z=np.repeat(np.arange(10.0), 6))
    assert model(data, {"new": text}).levels["new"] == level
    assert model(data, {"new": text}, cluster="g").frame.columns["new"].level == level


def test_cluster_means_are_known_where_every_row_is_observed(people) -> None:
    data = people.assign(mean=np.nan)
    data.loc[:5, "weight"] = 60.0 + np.arange(6)
    ignore = np.arange(60) == 0
    found = model(data, {"mean": "mean(weight)"}, ignore=ignore)
    np.testing.assert_allclose(found.frame.data.loc[:5, "mean"], 63.0)
    assert found.where[:, list(data).index("mean")].sum() == 54


def test_contradicted_rules_warn(people) -> None:
    with pytest.warns(match=r"W16: .*'bmi' contradicts 40 of 40 .*row 2: observed .*row 4"):
        model(people.assign(bmi=people["bmi"].round(1) + 0.01))
    one = people.copy()
    one.loc[2, "bmi"] += 1e-9
    assert len(model(one).rules) == 1


def test_a_function_tells_what_it_reads(people) -> None:
    found = model(people, {"bmi": lambda columns: columns["weight"] / columns["height"] ** 2})
    assert found.rules[0].ingredients == ("weight", "height")
    assert found.passive["bmi"] == "~ <lambda>()"


def logical(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(tall=pd.array([True, False] * 29 + [pd.NA] * 2, dtype="boolean"))


def branch(columns):
    return columns["weight"] if columns["height"] > 1 else columns["age"]


REFUSED = {
    "unknown target": ({"bmj": "weight"}, "E30", "'bmj' not in data"),
    "unknown name": ({"bmi": "weight / hight"}, "E30", "rule for 'bmi': unknown name 'hight'"),
    "forbidden construct": ({"bmi": "open('x')"}, "E30", "unknown function"),
    "no text": ({"bmi": 3}, "E30", "must be text or a function"),
    "no dict": ("weight", "E30", "must be a dict"),
    "a rule for the cluster": ({"g": "weight"}, "E30", "'g' has neither"),
    "numbers for yes and no": ({"tall": "height"}, "E30", "give a condition"),
    "itself": ({"bmi": "bmi + 1"}, "E29", "bmi -> bmi"),
    "a circle": ({"bmi": "age * y", "age": "y", "y": "bmi"}, "E29", "bmi -> age -> y -> bmi"),
    "a branch": ({"bmi": branch}, "E28", r"not traceable .*truth value"),
    "numpy": ({"bmi": lambda c: np.log(c["weight"])}, "E28", r"not traceable .*TracerArray"),
    "another shape": ({"bmi": lambda c: c["weight"][:2]}, "E28", r"returns the shape \(2,\)"),
    "a mean of rows": (
        {"bmi": lambda c: c["weight"] - jnp.mean(c["weight"])},
        "E28",
        "rows depend on each other",
    ),
    "unknown name in a function": ({"bmi": lambda c: c["hight"]}, "E30", "did you mean 'height'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rules_that_cannot_be_used(people, case) -> None:
    passive, code, text = REFUSED[case]
    with pytest.raises(ModelError, match=text) as caught:
        setup(logical(people), passive=passive, cluster="g")
    assert caught.value.code == code


def test_a_rule_belongs_to_one_column(people) -> None:
    with pytest.raises(ModelError, match=r"E30.*one column"):
        setup(people, "~ weight", cluster="g")
    with pytest.raises(ModelError, match=r"E30.*several"):
        setup(people, {"B": "~ age"}, blocks={"B": ["weight", "height"]}, cluster="g")
    with pytest.raises(ModelError, match=r"E30.*both"):
        setup(people, {"bmi": "~ age"}, passive=BMI, cluster="g")
    with pytest.raises(ModelError, match=r"E30.*'norm' and a rule"):
        setup(people, {"bmi": "norm"}, passive=BMI, cluster="g")
    assert setup(people, "norm", passive=BMI, cluster="g").passive == {
        "bmi": "~ weight / height**2"
    }


def test_ingredients_must_not_stay_missing(people) -> None:
    options = {"roles": {"*": {"weight": "none", "bmi": "none"}}, "passive": BMI, "cluster": "g"}
    with pytest.raises(ModelError, match=r"E19.*'weight' stays missing.*'bmi' needs it in 12"):
        setup(people, METHOD | {"weight": ""}, **options)
    only = people.isna().assign(weight=False, bmi=False)
    assert setup(people, METHOD, where=only, **options).rules == ()


def test_values_that_are_not_finite_are_refused(people) -> None:
    data = people.assign(new=np.nan)
    data.loc[[6, 13], "age"] = 0.0
    with pytest.raises(DataError, match=r"E05.*'new' gives 2 .*rows 6, 13; clusters 1, 2"):
        model(data, {"new": "1 / age"})
    with pytest.raises(DataError, match="E05"):
        model(data, {"new": "log(age)"})
    assert model(data, {"new": "where(age > 0, log(age), -9)"}).rules == ()
