"""Every bad call ends in one error with a code, raised before anything runs."""

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError, JaxMiceError, ModelError, RunError
from tests.frames import two_level

pytestmark = pytest.mark.filterwarnings("ignore:W")

DATA = two_level(("x", "y"))
CODES = pd.DataFrame(0, index=["x", "y"], columns=list(DATA.columns))


def change(**columns: Any) -> pd.DataFrame:
    return DATA.assign(**columns)


def codes(**changes: int) -> pd.DataFrame:
    """Return codes of two-level methods, some of row y changed."""
    matrix = CODES.copy()
    matrix["g"] = -2
    for name, code in changes.items():
        matrix.loc["y", name] = code
    return matrix


def where(**columns: Any) -> pd.DataFrame:
    return DATA.isna().assign(**columns)


def holes_by_cluster() -> pd.DataFrame:
    return DATA.assign(y=DATA["y"].mask(DATA["g"] == 3))


Call = tuple[str, type[JaxMiceError], Callable[[], Any], dict[str, Any]]

CALLS: dict[str, Call] = {
    "no frame": ("E01", DataError, lambda: [1, 2], {}),
    "array without labels": ("E01", DataError, lambda: np.ones((4, 2)), {}),
    "one column": ("E02", DataError, lambda: DATA[["y"]], {"cluster": None}),
    "one row": ("E02", DataError, lambda: DATA.iloc[:1], {}),
    "duplicate labels": ("E03", DataError, lambda: DATA[["g", "y", "y"]], {}),
    "labels that are numbers": ("E04", DataError, lambda: DATA.rename(columns={"x": 3}), {}),
    "infinite values": ("E05", DataError, lambda: change(w=DATA["w"] / 0.0), {}),
    "complex numbers": ("E06", DataError, lambda: change(w=1j * DATA["w"]), {}),
    "lists in cells": ("E06", DataError, lambda: change(w=[[1]] * len(DATA)), {}),
    "date to impute": (
        "E07",
        DataError,
        lambda: change(
            y=pd.Timestamp("2020-01-01") + pd.to_timedelta(DATA["y"].to_numpy(), unit="D")
        ),
        {"method": {"x": "norm", "y": "norm"}},
    ),
    "mixed types": ("E08", DataError, lambda: change(w=["a", 1] * (len(DATA) // 2)), {}),
    "nothing to learn from": ("E46", DataError, lambda: DATA, {"ignore": np.ones(len(DATA), bool)}),
    "no categories": ("E51", ModelError, lambda: DATA, {"max_categories": -1}),
    "text for a flag": ("E51", ModelError, lambda: DATA, {"standardize": "no"}),
    "levels are no dict": ("E51", ModelError, lambda: DATA, {"levels": 5}),
    "options are no dict": ("E51", ModelError, lambda: DATA, {"options": 5}),
    "m is zero": ("E09", DataError, lambda: DATA, {"m": 0}),
    "m is no integer": ("E09", DataError, lambda: DATA, {"m": 2.5}),
    "m is true": ("E09", DataError, lambda: DATA, {"m": True}),
    "maxit is negative": ("E10", DataError, lambda: DATA, {"maxit": -1}),
    "maxit is no integer": ("E10", DataError, lambda: DATA, {"maxit": "5"}),
    "missing cluster ids": ("E11", DataError, lambda: change(g=DATA["g"].mask(DATA["g"] < 1)), {}),
    "unknown cluster": ("E12", DataError, lambda: DATA, {"cluster": "G"}),
    "two clusters": ("E13", DataError, lambda: DATA, {"cluster": ["g", "w"]}),
    "level 2 but varying": ("E14", DataError, lambda: DATA, {"levels": {"w": 2}}),
    "nothing observed": ("E15", DataError, lambda: change(y=np.nan), {}),
    "too few clusters": (
        "E16",
        ModelError,
        lambda: DATA[DATA["g"] < 3],
        {"method": "2l.norm", "options": {"*": {"prior": "kr"}}},
    ),
    "predictor stays missing": (
        "E19",
        ModelError,
        lambda: DATA,
        {"method": {"x": "", "y": "2l.pan"}},
    ),
    "where of another shape": ("E20", DataError, lambda: DATA, {"where": np.ones((2, 2), bool)}),
    "where of another type": ("E20", DataError, lambda: DATA, {"where": where(y=1.5)}),
    "unknown where": ("E20", DataError, lambda: DATA, {"where": "mising"}),
    "unknown method": ("E21", ModelError, lambda: DATA, {"method": "2l.pann"}),
    "method for another kind": ("E22", ModelError, lambda: DATA, {"method": {"y": "logreg"}}),
    "two-level method without cluster": (
        "E23",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "cluster": None},
    ),
    "two-level method, code 0": (
        "E23",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "predictor_matrix": codes(g=0)},
    ),
    "two cluster codes": (
        "E23",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "predictor_matrix": codes(w=-2)},
    ),
    "dummies of empty clusters": (
        "E24",
        ModelError,
        holes_by_cluster,
        {"method": "norm", "predictor_matrix": {"y": {"g": 1}}},
    ),
    "unknown code": (
        "E25",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "predictor_matrix": codes(w=7)},
    ),
    "selection code": (
        "E26",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "predictor_matrix": codes(w=-3)},
    ),
    "unknown row": ("E27", ModelError, lambda: DATA, {"predictor_matrix": {"q": {"w": 1}}}),
    "unknown column": ("E27", ModelError, lambda: DATA, {"predictor_matrix": {"y": {"q": 1}}}),
    "matrix not square": ("E27", ModelError, lambda: DATA, {"predictor_matrix": np.ones((2, 3))}),
    "ignore of another length": ("E46", DataError, lambda: DATA, {"ignore": [True]}),
    "unknown start": ("E47", DataError, lambda: DATA, {"init": "median"}),
    "start with holes": ("E47", DataError, lambda: DATA, {"init": DATA}),
    "start without a column": ("E47", DataError, lambda: DATA, {"init": DATA[["g", "x"]]}),
    "start of another length": ("E47", DataError, lambda: DATA, {"init": DATA.iloc[:9]}),
    "unknown block": ("E49", ModelError, lambda: DATA, {"visit_sequence": ["q"]}),
    "unknown option": ("E51", ModelError, lambda: DATA, {"options": {"y": {"donor": 3}}}),
    "unknown prior": (
        "E51",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "options": {"*": {"prior": "kr"}}},
    ),
    "option of another type": (
        "E51",
        ModelError,
        lambda: DATA,
        {"method": "2l.pan", "options": {"*": {"inner_iter": 0}}},
    ),
    "unknown choice": ("E51", ModelError, lambda: DATA, {"screen": "maybe"}),
    "negative seed": ("E53", RunError, lambda: DATA, {"seed": -1}),
    "seed of 65 bits": ("E53", RunError, lambda: DATA, {"seed": 2**64}),
    "seed is text": ("E53", RunError, lambda: DATA, {"seed": "1"}),
    "unknown precision": ("E53", RunError, lambda: DATA, {"precision": "double"}),
    "unknown device": ("E53", RunError, lambda: DATA, {"device": "abacus"}),
    "device is a number": ("E53", RunError, lambda: DATA, {"device": 3}),
    "empty chunks": ("E53", JaxMiceError, lambda: DATA, {"chunk_chains": 0}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_errors_of_mice(call: Call) -> None:
    code, kind, data, options = call
    with pytest.raises(kind) as caught:
        jm.mice(data(), **({"cluster": "g", "m": 2, "seed": 1} | options))
    assert caught.value.code == code
    message = str(caught.value)
    assert message.startswith(f"{code}: ")
    assert len(message) > 25
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert not any("/jax/" in frame.filename for frame in frames)


def test_errors_model_together_with_data() -> None:
    model = jm.setup(DATA, cluster="g", method="2l.pan")
    clashes: list[dict[str, Any]] = [
        {"data": DATA},
        {"cluster": "g"},
        {"method": "norm"},
        {"screen": "off"},
    ]
    for options in clashes:
        with pytest.raises(ModelError, match="E50") as caught:
            jm.mice(model=model, **options)
        assert next(iter(options)) in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("clutser", "cluster"), ("standardise", "standardize"), ("maxiter", "maxit"), ("sed", "seed")],
)
def test_errors_misspelled_argument(wrong: str, right: str) -> None:
    options: dict[str, Any] = {wrong: 1}
    with pytest.raises(TypeError, match=rf"{wrong}.*did you mean '{right}'"):
        jm.mice(DATA, **options)


def test_errors_method_without_declarations() -> None:
    class Bare(jm.Method):
        def init(self, key: Any, sums: Any) -> Any:
            return ()

        def step(self, key: Any, state: Any, sums: Any, n_steps: Any) -> Any:
            return state

        def impute(self, key: Any, state: Any, target: Any) -> Any:
            return target.y

    with pytest.raises(ModelError, match="E52"):
        jm.register_method(Bare)


def test_errors_data_sets_with_different_models() -> None:
    with pytest.raises(ModelError, match=r"E55.*only one of them imputes 'x'"):
        jm.replicate([DATA, two_level(("y",))], cluster="g", method="norm")
    with pytest.raises(ModelError, match=r"E55.*predictors of 'x', 'y' differ"):
        jm.replicate([DATA, DATA.drop(columns="w")], cluster="g", method="norm")
