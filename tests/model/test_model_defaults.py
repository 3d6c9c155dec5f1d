"""Default methods and default codes."""

import numpy as np
import pandas as pd
import pytest
from model_data import events, make_school

from jaxmice.errors import ModelError
from jaxmice.frame import Clusters
from jaxmice.methods import REGISTRY
from jaxmice.model import find_default_method, make_method, make_predictor_matrix, setup
from jaxmice.model.defaults import heterogeneity
from jaxmice.model.groups import Groups


def test_single_level_methods_by_kind(plain) -> None:
    plain["b"] = pd.Categorical(np.where(plain["x"] > 0, "u", "v"))
    plain["o"] = pd.Categorical(plain["c"], ordered=True)
    plain["k"] = np.arange(200) % 7
    plain["b01"] = (plain["x"] > 1).astype(float)
    plain["f"] = pd.array(np.arange(200) % 2 == 0, dtype="boolean")
    plain = plain.astype({"k": "Int64"})
    plain.loc[0, :] = None
    assert make_method(plain) == {
        "x": "pmm", "y": "pmm", "z": "pmm", "c": "polyreg", "b": "logreg", "o": "polr",
        "k": "pmm", "b01": "pmm", "f": "logreg",
    }  # fmt: skip
    unknown = r"E21: unknown method 'polyregg' for 'c'.*nominal.*'polyreg'"
    with pytest.raises(ModelError, match=unknown) as error:
        setup(plain, {"c": "polyregg", "o": "pollr"})
    assert "'pollr' for 'o'" in str(error.value)
    model = setup(plain, default_method=("norm", "logreg", "sample", "pmm"))
    assert model.method["x"] == "norm"
    assert model.method["c"] == "sample"


def test_complete_columns_have_no_method(plain) -> None:
    model = setup(plain, "pmm")
    assert model.method == {"x": "", "y": "pmm", "z": "pmm", "c": ""}
    assert [visit.targets for visit in model.visits] == [("y",), ("z",)]
    assert (model.predictor_matrix.loc[["x", "c"]] == 0).all(axis=None)


def test_methods_by_name_and_place(plain) -> None:
    assert setup(plain, {"y": "norm"}).method == {"x": "", "y": "norm", "z": "pmm", "c": ""}
    assert setup(plain, ["", "norm", "mean", ""]).method["z"] == "mean"
    model = setup(plain, {"y": "", "z": "norm"}, on_missing_predictor="drop")
    assert [visit.targets for visit in model.visits] == [("z",)]
    assert not model.where[:, 1].any()


def test_default_matrix_of_single_level_data(plain) -> None:
    matrix = make_predictor_matrix(plain)
    assert (matrix.to_numpy() == 1 - np.eye(4)).all()
    assert list(matrix.index) == list(matrix.columns) == ["x", "y", "z", "c"]


def test_default_matrix_of_clustered_data(school) -> None:
    matrix = make_predictor_matrix(school, "school")
    assert matrix.loc["popular"].tolist() == [-2, 0, 0, 3, 3, 1]
    assert matrix.loc["texp"].tolist() == [-2, 0, 1, 1, 1, 0]
    matrix.loc["popular", ["school", "sex", "texp", "iq"]] = [-2, 2, 1, 0]
    model = setup(school, "2l.norm", matrix, cluster="school")
    assert model.predictor_matrix.loc["popular"].tolist() == [-2, 0, 0, 2, 0, 1]
    assert make_predictor_matrix(school, "school", defaults="mice").loc["popular"].tolist() == [
        -2, 1, 0, 1, 1, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "is_id"),
    [
        (lambda g, n: np.arange(n) + 100, True),
        (lambda g, n: np.tile(np.arange(12), 30), True),
        (lambda g, n: np.tile(np.arange(12)[::-1] + 1, 30), True),
        (lambda g, n: np.tile(np.arange(12) + 2, 30), False),
        (lambda g, n: np.tile(np.r_[1, np.arange(1, 12)], 30), False),
        (lambda g, n: np.tile(np.arange(12) * 1.0 + 0.5, 30), False),
        (lambda g, n: [f"r{i}" for i in range(n)], True),
    ],
)
def test_ids_do_not_predict(school, values, is_id) -> None:
    school["nr"] = values(None, len(school))
    model = setup(school, "2l.pan", cluster="school")
    excluded = {event.out for event in events(model, "id_excluded")}
    assert excluded == ({"pupil", "nr"} if is_id else {"pupil"})
    assert (model.predictor_matrix.loc["popular", "nr"] == 0) == is_id


def test_homogeneous_and_heterogeneous_clusters() -> None:
    data = make_school(J=40, size=40)
    assert find_default_method(data, "school")["popular"] == "2l.pan"
    spread = np.repeat(np.linspace(0.3, 3, 40), 40)
    data["popular"] += spread * np.random.default_rng(0).normal(size=len(data))
    table = find_default_method(data, "school", explain=True)
    assert table.loc["popular", ["method", "branch"]].tolist() == ["2l.norm", "heterogeneous"]
    assert table.loc["popular", "I"] == 40
    assert setup(data, cluster="school").method["popular"] == "2l.norm"


def test_heterogeneity_has_the_right_size() -> None:
    rng = np.random.default_rng(0)
    J, size = 60, 25
    groups = Groups(Clusters("g", np.repeat(np.arange(J), size), tuple(range(J))))
    rows = np.ones(J * size, dtype=bool)
    p = [heterogeneity(rng.normal(size=J * size), rows, groups)[0] for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.10
    assert heterogeneity(rng.normal(size=J * size), groups.codes < 9, groups) == (1.0, 9)


@pytest.mark.parametrize(
    ("J", "size", "dtype", "family", "method"),
    [
        (100, 12, "continuous", "micemd", "2l.glm.norm"),
        (5, 400, "continuous", "micemd", "2l.2stage.norm"),
        (5, 20, "continuous", "micemd", "2l.glm.norm"),
        (15, 300, "continuous", "micemd", "2l.2stage.norm"),
        (5, 400, "binary", "micemd", "2l.2stage.bin"),
        (5, 20, "binary", "micemd", "2l.glm.bin"),
        (15, 300, "binary", "micemd", "2l.jomo"),
        (15, 20, "binary_numeric", "micemd", "2l.jomo"),
        (15, 300, "integer", "micemd", "2l.2stage.pois"),
        (15, 300, "below zero", "micemd", "2l.2stage.norm"),
        (15, 20, "integer", "gibbs", "2l.pois"),
        (15, 20, "binary", "gibbs", "2l.bin"),
        (15, 20, "nominal", "gibbs", "2l.nominal"),
        (15, 20, "ordinal", "micemd", "2l.ordinal"),
        (15, 20, "large", "gibbs", "2l.pan"),
    ],
)
@pytest.mark.filterwarnings("ignore:W08")
def test_decision_table(J, size, dtype, family, method) -> None:
    rng = np.random.default_rng(0)
    n = J * size
    values = {
        "continuous": lambda: pd.Series(rng.normal(size=n)),
        "binary": lambda: pd.Series(pd.Categorical(rng.choice(["a", "b"], n))),
        "binary_numeric": lambda: pd.Series(rng.integers(0, 2, n).astype(float)),
        "integer": lambda: pd.Series(rng.poisson(3, n), dtype="Int64"),
        "below zero": lambda: pd.Series(rng.poisson(3, n) - 2, dtype="Int64"),
        "large": lambda: pd.Series(rng.poisson(300, n), dtype="Int64"),
        "nominal": lambda: pd.Series(pd.Categorical(rng.choice(["a", "b", "c"], n))),
        "ordinal": lambda: pd.Series(pd.Categorical(rng.choice([1, 2, 3], n), ordered=True)),
    }[dtype]()
    values[rng.random(n) < 0.2] = None
    data = pd.DataFrame({"g": np.repeat(np.arange(J), size), "y": values})
    assert find_default_method(data, "g", family=family) == {"g": "", "y": method}
    if method not in REGISTRY:
        with pytest.raises(ModelError, match=f"E21: unknown method '{method}' for 'y'.*available"):
            setup(data, cluster="g", family=family)


def test_level_2_columns() -> None:
    data = make_school(J=40)
    data.loc[data["school"] == "s01", "texp"] = np.nan
    data["rural"] = pd.Categorical(data["school"].cat.codes % 2 == 0)
    data.loc[0, "rural"] = None
    table = find_default_method(data, "school", explain=True)
    assert table["branch"].to_dict() == {
        "popular": "homogeneous", "texp": "level 2", "rural": "deductive",
    }  # fmt: skip
    assert table.loc["texp", "method"] == "2lonly.pmm"
    assert setup(data, cluster="school").method["texp"] == "2lonly.pmm"


def test_skewed_and_bounded_columns() -> None:
    data = make_school(J=20, size=30)
    data["popular"] = np.exp(2 * data["popular"])
    table = find_default_method(data, "school", explain=True)
    assert table.loc["popular", ["method", "branch"]].tolist() == ["2l.pmm", "skewed"]
    data["popular"] = data["popular"].rank().clip(lower=60)
    table = find_default_method(data, "school", explain=True)
    assert table.loc["popular", ["method", "branch"]].tolist() == ["2l.pmm", "bounded"]


def test_options_reach_the_methods_that_know_them(plain) -> None:
    options = {"*": {"donors": 7}, "y": {"donors": 3}}
    model = setup(plain, {"y": "pmm", "z": "norm"}, options=options)
    assert model.options == options
    assert model.visits[0].method == REGISTRY["pmm"].from_options(donors=3)
    both = setup(plain, "pmm", options=options).visits
    assert both[1].method == REGISTRY["pmm"].from_options(donors=7)
