"""Passive columns in a run: always in step, used as predictors, and never silently wrong."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.engine import compiling
from jaxmice.engine.run import Session
from jaxmice.errors import ModelError, RunError
from tests.frames import two_level

pytestmark = pytest.mark.filterwarnings("ignore:W")

METHOD = {"height": "norm", "weight": "norm"}
BMI = "weight / height**2"


def people(empty: bool = False) -> pd.DataFrame:
    """Twelve clusters of eight: height and weight incomplete, the body mass index with them."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 8)
    height = 1.7 + 0.08 * rng.normal(size=96)
    weight = 22 * height**2 + 6 * rng.normal(size=96)
    data = pd.DataFrame({"g": g, "height": height, "weight": weight})
    data["famob"] = weight + 10 * rng.normal(size=96)
    data.loc[::5, "weight"] = np.nan
    data.loc[1::6, "height"] = np.nan
    data["bmi"] = np.nan if empty else data["weight"] / data["height"] ** 2
    return data


def impute(data: pd.DataFrame, passive: Any = None, **options: Any) -> jm.ImputedData:
    settings = {"m": 2, "maxit": 2, "seed": 3, "cluster": "g", "passive": passive}
    return jm.mice(data, **settings | {"method": METHOD} | options)


def out_of_step(imp: jm.ImputedData) -> float:
    parts = [frame["bmi"] - frame["weight"] / frame["height"] ** 2 for frame in imp]
    return max(float(part.abs().max()) for part in parts)


@pytest.fixture(scope="module")
def imputed() -> jm.ImputedData:
    return impute(people(), {"bmi": BMI})


def test_passive_columns_are_in_step(imputed: jm.ImputedData) -> None:
    assert out_of_step(imputed) == 0
    assert len(imputed.imp["bmi"]) == people()["bmi"].isna().sum()
    assert imputed.complete(1).notna().all(axis=None)
    for frame in imputed:
        seen = people()["bmi"].notna()
        pd.testing.assert_series_equal(frame.loc[seen, "bmi"], people().loc[seen, "bmi"])


def test_passive_columns_are_in_step_inside_the_chains(imputed: jm.ImputedData) -> None:
    at = imputed.variables.index("bmi")
    np.testing.assert_allclose(imputed.chain_mean[at, -1], imputed.imp["bmi"].mean(), rtol=1e-12)
    np.testing.assert_allclose(imputed.chain_var[at, -1], imputed.imp["bmi"].var(), rtol=1e-9)
    assert (imputed.chain_mean[at, 0] != imputed.chain_mean[at, 1]).all()


def test_passive_columns_stay_in_step_when_a_run_goes_on(imputed: jm.ImputedData) -> None:
    longer, more = imputed.continue_run(1), imputed.add_imputations(1)
    assert out_of_step(longer) == out_of_step(more) == 0
    at_once = impute(people(), {"bmi": BMI}, maxit=3, m=2)
    pd.testing.assert_frame_equal(longer.complete(2), at_once.complete(2))
    pd.testing.assert_frame_equal(more.complete(2), imputed.complete(2), rtol=1e-9)
    assert out_of_step(impute(people(), {"bmi": BMI}, maxit=0)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float32"},
        {"init": "mean"},
        {"init": people().fillna(2.0), "chunk_chains": 1},
        {"standardize": False},
        {"ignore": np.arange(96) < 10},
    ],
    ids=["32 bits", "means", "chunks", "no scale", "ignored rows"],
)
def test_passive_columns_are_in_step_whatever_the_options(options: dict[str, Any]) -> None:
    assert out_of_step(impute(people(empty=True), {"bmi": BMI}, maxit=1, **options)) == 0


def test_passive_columns_take_observed_cells_that_are_imputed_again() -> None:
    data = people()
    where = data.isna().assign(weight=True)
    imp = impute(data, {"bmi": BMI}, maxit=1, where=where)
    frame, cells = imp.complete(1), data["bmi"].isna()
    assert (frame["weight"] != data["weight"]).all()
    np.testing.assert_array_equal(
        frame["bmi"][cells], (frame["weight"] / frame["height"] ** 2)[cells]
    )
    np.testing.assert_array_equal(frame["bmi"][~cells], data["bmi"][~cells])


def test_passive_function_does_the_same_as_its_expression(imputed: jm.ImputedData) -> None:
    found = impute(people(), {"bmi": lambda c: c["weight"] / jnp.square(c["height"])})
    pd.testing.assert_frame_equal(found.complete(2), imputed.complete(2))


def exact(rule: str) -> pd.DataFrame:
    """Return y that follows a new column almost exactly, missing wherever that is not known."""
    full, data = two_level(()), two_level(("x", "z"))
    if rule == "mean(x)":
        data["x"] = data["x"].where(data["g"] % 3 == 0, full["x"])
    mean = full.groupby("g")["x"].transform("mean")
    value = {"x^2": full["x"] ** 2, "x * z": full["x"] * full["z"], "mean(x)": mean}[rule]
    known = data["g"] % 3 > 0 if rule == "mean(x)" else data["x"].notna() & data["z"].notna()
    noise = 1e-3 * np.random.default_rng(1).normal(size=len(data))
    return data.assign(y=(value + noise).where(known), new=value.where(known))


def residual(rule: str) -> float:
    """Return how far imputed y lie from what predicts them, where this was computed."""
    roles = {"*": {"g": "none", "y": "none", "new": "none"}, "y": "new"}
    imp = impute(
        exact(rule),
        {"new": rule},
        roles=roles,
        method="norm",
        visit_sequence=["x", "z", "y"],
        keep_near_perfect=True,
    )
    frame = imp.complete(1)
    return float((frame["y"] - frame["new"])[exact(rule)["new"].isna()].std())


RULES = ["x^2", "x * z", "mean(x)"]


@pytest.mark.parametrize("rule", RULES)
def test_passive_columns_predict_others_with_their_current_values(rule: str) -> None:
    # The noise is 0.001; a residual standard deviation ten times as large has no chance.
    assert residual(rule) < 1e-2


@pytest.mark.parametrize("rule", RULES)
def test_passive_columns_that_lag_behind_are_noticed(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise = Session._synchronise

    def at_the_start_only(session: Session, chunk: Any) -> None:
        if session.iteration == 0:
            synchronise(session, chunk)

    monkeypatch.setattr(Session, "_synchronise", at_the_start_only)
    assert residual(rule) > 2e-2


def test_passive_cluster_means_agree_on_both_sides() -> None:
    data = two_level(("x", "y")).assign(mean=np.nan, n=np.nan, loo=np.nan)
    ignore = (np.arange(96) % 7 == 3) | (data["g"] == 5)
    rules = {
        "mean": "mean(x)",
        "n": "size() + 0 * y",
        "loo": "(sum(x) - x) / (size() - 1)",
    }
    imp = impute(data, rules, method="norm", ignore=ignore, roles={"y": {"mean": "fixed"}})
    frame = imp.complete(1)
    used = frame[~ignore | (frame["g"] == 5)]
    expected = frame["g"].map(used.groupby("g")["x"].mean())
    np.testing.assert_allclose(frame["mean"], expected, rtol=1e-12)
    np.testing.assert_array_equal(frame["n"], frame["g"].map(used.groupby("g").size()))
    assert imp.model.levels | {"mean": 2, "n": 1, "loo": 1} == imp.model.levels
    for name in rules:
        at, by_cell = imp.variables.index(name), imp.imp[name]
        if name == "mean":  # a level-2 column counts once per cluster
            by_cell = by_cell.groupby(data["g"]).first()
        np.testing.assert_allclose(imp.chain_mean[at, -1], by_cell.mean(), rtol=1e-9)


def test_passive_whole_numbers_stay_whole() -> None:
    rng = np.random.default_rng(5)
    items = rng.integers(0, 4, size=(96, 3)) + np.repeat(rng.integers(0, 3, 12), 8)[:, None]
    data = pd.DataFrame(items, columns=["a", "b", "c"]).astype("Int64")
    data["g"] = np.repeat(np.arange(12), 8)
    for k, name in enumerate("abc"):
        data.loc[k :: 5 + k, name] = pd.NA
    data["total"] = data["a"] + data["b"] + data["c"]
    data["high"] = (data["total"] >= 9).astype("boolean")
    imp = impute(data, {"total": "a + b + c", "high": "total >= 9"}, method="pmm")
    for frame in imp:
        assert frame.dtypes.equals(data.dtypes)
        assert (frame["total"] == frame[["a", "b", "c"]].sum(axis=1)).all()
        assert (frame["high"] == (frame["total"] >= 9)).all()
    at = imp.variables.index("high")
    share = imp.imp["high"].astype(float).mean()
    np.testing.assert_allclose(imp.chain_mean[at, -1] - 1, share, rtol=1e-12)


def test_passive_values_that_are_not_finite_stop_the_run() -> None:
    data = two_level(("x",)).assign(x=lambda d: d["x"].abs() / 10)
    data["g"] = "school " + data["g"].astype(str)
    data["log"] = np.log(data["x"])
    with pytest.raises(RunError, match=r"E31: rule of 'log', iteration \d, chain \d: ") as caught:
        impute(data, {"log": "log(x)"}, method="norm", roles={"x": "w"})
    message = str(caught.value)
    row = int(message.split("row ")[1].split(",")[0])
    assert np.isnan(data["x"][row])
    assert f"cluster {data['g'][row]!r}" in message
    imp = impute(data, {"log": "log(x)"}, method="pmm", roles={"x": "w"})
    np.testing.assert_array_equal(imp.complete(1)["log"], np.log(imp.complete(1)["x"]))


def test_passive_column_may_predict_its_ingredients_on_request() -> None:
    roles = {"weight": {"bmi": "fixed"}}
    assert out_of_step(impute(people(), {"bmi": BMI}, roles=roles)) == 0
    one = people().assign(height=people()["height"].fillna(1.7))
    assert impute(one, {"bmi": BMI}, maxit=None).iteration == 1
    assert impute(one, {"bmi": BMI}, maxit=None, roles=roles).iteration == 10


def test_programs_between_the_visits_are_their_own() -> None:
    def programs(**options: Any) -> list[int]:
        impute(people(), **options)
        made = (compiling.visit(plain=False), compiling.recompute(), compiling.process())
        return [program._cache_size() for program in made]

    rule = {"bmi": BMI}
    visits, rules, steps = programs(passive=rule)
    moved = [visits, rules, steps + 1]
    assert programs(passive=rule, post={"weight": jm.post.delta(1)}) == moved
    # Other numbers are arguments of the same programs.
    assert programs(passive=rule, post={"weight": jm.post.delta(2.5, 0.5)}) == moved
    # Without either there are neither.
    plain = programs(method=METHOD | {"bmi": "norm"}, maxit=1)
    assert plain[1:] == moved[1:]
    assert programs(method=METHOD | {"bmi": "norm"}, maxit=1, seed=4) == plain


def test_passive_columns_of_several_data_sets() -> None:
    frames = [people(), people().assign(weight=lambda d: d["weight"] + 1, bmi=np.nan)]
    settings: dict[str, Any] = {"m": 2, "maxit": 1, "seed": 3, "cluster": "g", "screen": "off"}
    results = jm.replicate(frames, method=METHOD, passive={"bmi": BMI}, **settings)
    assert [out_of_step(imp) for imp in results] == [0, 0]
    alone = jm.mice(frames[0], method=METHOD, passive={"bmi": BMI}, **settings)
    np.testing.assert_allclose(alone.imp["bmi"], results[0].imp["bmi"], rtol=1e-9)
    complete = people().dropna()
    with pytest.raises(ModelError, match="E55"):
        jm.replicate([frames[0], complete], method=METHOD, passive={"bmi": BMI}, **settings)
