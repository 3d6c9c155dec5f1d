"""The result of a run: completed data, traces, log, information."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice import analysis, diagnostics
from jaxmice.errors import DataError
from tests.frames import CLUSTERS, SIZE, two_level

N = CLUSTERS * SIZE

pytestmark = pytest.mark.filterwarnings("ignore:W14")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = two_level(("x", "y", "z"))
    frame["kind"] = pd.Categorical(np.where(frame["w"] > 0, "a", "b"))
    frame.loc[::9, "kind"] = np.nan
    return frame.set_index(pd.Index([f"r{i}" for i in range(N)], name="row"))


@pytest.fixture(scope="module")
def imp(data: pd.DataFrame) -> jm.ImputedData:
    method = {"x": "norm", "y": "norm", "z": "norm", "kind": "sample"}
    with pytest.warns(jm.errors.JaxMiceWarning):
        return jm.mice(data, m=3, method=method, cluster="g", maxit=2, seed=1)


def test_imputed_a_single_completed_frame(imp: jm.ImputedData, data: pd.DataFrame) -> None:
    completed = imp.complete(2)
    assert completed.notna().all(axis=None)
    assert completed.dtypes.equals(data.dtypes)
    assert completed.index.equals(data.index)
    pd.testing.assert_frame_equal(completed.where(data.notna()), data)
    pd.testing.assert_frame_equal(imp.complete(0), data)


def test_imputed_values_are_those_of_imp(imp: jm.ImputedData, data: pd.DataFrame) -> None:
    for name in imp.variables:
        missing: Any = data[name].isna()
        assert list(imp.imp[name].columns) == [1, 2, 3]
        rows = data.index[missing]
        assert imp.imp[name].index.equals(rows)
        expected = imp.complete(3).loc[rows, name].astype(object)
        assert (imp.imp[name][3].astype(object) == expected).all()


def test_imputed_behaves_as_a_sequence(imp: jm.ImputedData) -> None:
    assert len(imp) == 3
    pd.testing.assert_frame_equal(imp[2], imp.complete(2))
    for number, frame in enumerate(imp, 1):
        pd.testing.assert_frame_equal(frame, imp.complete(number))
    with pytest.raises(DataError, match="E54"):
        imp[4]


@pytest.mark.parametrize(
    ("action", "options", "shape"),
    [
        ([1, 3], {}, (2 * N, 6)),
        ("stacked", {}, (3 * N, 6)),
        ("stacked", {"include": True}, (4 * N, 6)),
        ("long", {}, (3 * N, 8)),
        ("long", {"include": True}, (4 * N, 8)),
        ("broad", {}, (N, 18)),
        ("repeated", {"include": True}, (N, 24)),
    ],
)
def test_imputed_layouts(
    imp: jm.ImputedData, action: Any, options: dict[str, Any], shape: tuple[int, int]
) -> None:
    assert imp.complete(action, **options).shape == shape


def test_imputed_long_layout_names_data_set_and_row(imp: jm.ImputedData) -> None:
    long = imp.complete("long", order="first", imp_column="set", id_column="label")
    assert list(long.columns[:2]) == ["set", "label"]
    second = long[long["set"] == 2].drop(columns=["set", "label"])
    np.testing.assert_array_equal(second["y"], imp.complete(2)["y"])
    parts = list(imp.complete("long", lazy=True))
    pd.testing.assert_frame_equal(pd.concat(parts), imp.complete("long"))


def test_imputed_all_layout_is_a_dict(imp: jm.ImputedData) -> None:
    frames = imp.complete("all", include=True)
    assert list(frames) == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(frames[3], imp.complete(3))


@pytest.mark.parametrize("action", [-1, 4, "wide", [1, 9], 1.5, None])
def test_imputed_unknown_action(imp: jm.ImputedData, action: Any) -> None:
    with pytest.raises(DataError, match="E54"):
        imp.complete(action)


def test_imputed_further_iterations_or_imputations_must_be_numbers(imp: jm.ImputedData) -> None:
    with pytest.raises(DataError, match="E10"):
        imp.continue_run(-1)
    with pytest.raises(DataError, match="E09"):
        imp.add_imputations(0)


def test_imputed_traces_are_those_of_the_completed_data(
    imp: jm.ImputedData, data: pd.DataFrame
) -> None:
    assert imp.chain_mean.shape == (4, 2, 3)
    sizes = np.full(CLUSTERS, SIZE)
    for v, name in enumerate(imp.variables):
        for i, frame in enumerate(imp):
            column = frame[name].cat.codes + 1.0 if name == "kind" else frame[name]
            cells = column[data[name].isna()]
            assert imp.chain_mean[v, -1, i] == pytest.approx(cells.mean(), rel=1e-9)
            assert imp.chain_var[v, -1, i] == pytest.approx(cells.var(), rel=1e-9)
            groups: Any = column.groupby(frame["g"])
            between = (sizes * (groups.mean() - column.mean()) ** 2).sum() / (CLUSTERS - 1)
            within = (groups.var() * (sizes - 1)).sum() / (N - CLUSTERS)
            component = (between - within) / SIZE
            assert imp.chain_between[v, -1, i] == pytest.approx(component, rel=1e-8)
            assert imp.chain_within[v, -1, i] == pytest.approx(within, rel=1e-8)
            icc = component / (component + within)
            assert imp.chain_icc[v, -1, i] == pytest.approx(icc, rel=1e-8)


def test_imputed_attributes(imp: jm.ImputedData, data: pd.DataFrame) -> None:
    assert (imp.m, imp.iteration) == (3, 2)
    assert imp.variables == ["x", "y", "z", "kind"]
    pd.testing.assert_frame_equal(imp.data, data)
    pd.testing.assert_series_equal(imp.nmis, data.isna().sum())
    pd.testing.assert_frame_equal(imp.where, data.isna())
    assert imp.method["kind"] == "sample"
    assert imp.predictor_matrix.loc["y", "x"] == 1
    assert imp.visit_sequence == ("x", "y", "z", "kind")


def test_imputed_info(imp: jm.ImputedData) -> None:
    assert imp.info["seed"] == 1
    assert imp.info["precision"] == "float64"
    assert imp.info["device"].startswith("cpu")
    assert imp.info["rng"]["implementation"] == "threefry2x32"
    assert set(imp.info["versions"]) >= {"jaxmice", "jax", "numpy", "pandas"}
    assert imp.info["seconds"]["run"] > 0


def test_imputed_logged_events(imp: jm.ImputedData) -> None:
    columns = ["it", "im", "dep", "meth", "out", "event", "level", "message"]
    assert list(imp.logged_events.columns) == columns


def test_imputed_repr_names_columns_and_methods(imp: jm.ImputedData) -> None:
    text = repr(imp)
    assert "96 rows, m = 3, iterations = 2" in text
    assert "kind: 11 cells by sample" in text


@pytest.mark.parametrize(
    "function",
    [
        analysis.analyze,
        analysis.analyze_numpyro,
        diagnostics.convergence,
        diagnostics.converged,
        diagnostics.run_until,
        diagnostics.compare,
        diagnostics.ppc,
        diagnostics.overimpute,
    ],
    ids=lambda function: function.__name__,
)
def test_imputed_methods_take_what_their_functions_take(function: Callable[..., Any]) -> None:
    _, *theirs = inspect.signature(function).parameters.values()
    _, *ours = inspect.signature(getattr(jm.ImputedData, function.__name__)).parameters.values()
    said = [[(p.name, p.kind, p.default) for p in side] for side in (ours, theirs)]
    assert said[0] == said[1]


def test_imputed_rows_with_repeated_labels_are_listed_by_position() -> None:
    data = two_level().set_index(pd.Index([0] * N))
    imp = jm.mice(data, m=2, method="sample", cluster="g", seed=1)
    np.testing.assert_array_equal(imp.imp["y"].index, np.flatnonzero(data["y"].isna()))
    assert imp.complete(1).index.equals(data.index)
    assert "index_not_unique" in set(imp.logged_events["event"])
