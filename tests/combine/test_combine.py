"""Combining results, changing them, and making them of data from elsewhere."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError, JaxMiceWarning, RunError
from tests.frames import CLUSTERS, SIZE, two_level

N = CLUSTERS * SIZE
ARGUMENTS: dict[str, Any] = {"m": 2, "cluster": "g", "method": "norm", "screen": "off"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:W00"),
    pytest.mark.filterwarnings("ignore:W14"),
]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = two_level(("x", "y"))
    return frame.set_index(pd.Index([f"r{i}" for i in range(N)]))


def _mice(data: pd.DataFrame, seed: int, maxit: int = 2, **options: Any) -> jm.ImputedData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return jm.mice(data, maxit=maxit, seed=seed, **{**ARGUMENTS, **options})


@pytest.fixture(scope="module")
def one(data: pd.DataFrame) -> jm.ImputedData:
    return _mice(data, 1)


@pytest.fixture(scope="module")
def two(data: pd.DataFrame) -> jm.ImputedData:
    return _mice(data, 2, maxit=1)


@pytest.fixture(scope="module")
def other() -> jm.ImputedData:
    """Return further rows, in clusters of which half are known."""
    data = two_level(("x", "y"), seed=5)
    data["g"] += CLUSTERS // 2
    return _mice(data, 3)


def _same(a: jm.ImputedData, b: jm.ImputedData) -> bool:
    return a.m == b.m and all(a.complete(i).equals(b.complete(i)) for i in range(a.m + 1))


def test_combine_ibind_numbers_one_after_the_other(
    one: jm.ImputedData, two: jm.ImputedData
) -> None:
    both = jm.ibind(one, two)
    assert both.m == 4
    assert [both.complete(i).equals(one.complete(i)) for i in (1, 2)] == [True, True]
    assert [both.complete(i + 2).equals(two.complete(i)) for i in (1, 2)] == [True, True]
    np.testing.assert_array_equal(both.chain_mean[:, :, :2], one.chain_mean)
    np.testing.assert_array_equal(both.chain_mean[:, :1, 2:], two.chain_mean)
    assert np.isnan(both.chain_mean[:, 1:, 2:]).all()


def test_combine_select_undoes_ibind(one: jm.ImputedData, two: jm.ImputedData) -> None:
    both = jm.ibind(one, two)
    assert _same(both.select(range(3, 5)), two)
    assert _same(jm.ibind(both.select([1, 2]), both.select([3, 4])), both)
    assert both.select(3).complete(1).equals(two.complete(1))
    np.testing.assert_array_equal(both.select([2]).chain_var, one.chain_var[:, :, 1:])


def test_combine_ibind_refuses_what_does_not_match(data: pd.DataFrame, one: jm.ImputedData) -> None:
    changed = data.copy()
    changed.loc["r3", "w"] += 1
    with pytest.raises(DataError, match=r"E48: ibind: 'data' differ"):
        jm.ibind(one, _mice(changed, 2, maxit=0))
    with pytest.raises(DataError, match=r"E48.*'method'"):
        jm.ibind(one, _mice(data, 2, maxit=0, method="pmm"))
    with pytest.raises(DataError, match=r"E48.*'post'"):
        jm.ibind(one, _mice(data, 2, maxit=0, post={"x": jm.post.squeeze(-1, 1)}))
    with pytest.raises(DataError, match=r"E48.*the same draws"):
        jm.ibind(one, one.select(2))


def test_combine_rbind_stacks_rows(one: jm.ImputedData, other: jm.ImputedData) -> None:
    with pytest.warns(JaxMiceWarning, match="W20: rbind"):
        both = jm.rbind(one, other)
    assert both.model.frame.clusters is not None
    assert both.model.frame.clusters.J == CLUSTERS + CLUSTERS // 2
    for i in range(3):
        expected = pd.concat([one.complete(i), other.complete(i)])
        pd.testing.assert_frame_equal(both.complete(i), expected)
    assert both.method == one.method
    assert both.chain_mean.shape == (2, 0, 2)
    upper = both.filter(np.arange(2 * N) < N)
    for i in range(3):
        pd.testing.assert_frame_equal(upper.complete(i), one.complete(i), check_index_type=False)


def test_combine_rbind_with_a_frame_leaves_its_holes(
    one: jm.ImputedData, other: jm.ImputedData
) -> None:
    with pytest.warns(JaxMiceWarning, match="W20"):
        both = jm.rbind(one, other.data)
    pd.testing.assert_frame_equal(both.complete(2)[N:].set_index(other.data.index), other.data)
    pd.testing.assert_frame_equal(both.complete(2)[:N], one.complete(2), check_index_type=False)
    assert not both.where[N:].any(axis=None)


@pytest.mark.filterwarnings("ignore:W20")
def test_combine_rbind_unites_categories(one: jm.ImputedData) -> None:
    a = one.assign(c=pd.Categorical(["x"] * N))
    b = one.assign(c=pd.Categorical(["y"] * N))
    assert list(jm.rbind(a, b).complete(1)["c"].cat.categories) == ["x", "y"]
    ordered = one.assign(c=pd.Categorical(["y"] * N, ["y"], ordered=True))
    with pytest.raises(DataError, match=r"E48: rbind: column 'c'"):
        jm.rbind(a, ordered)
    with pytest.raises(DataError, match=r"E48: rbind: the columns 'c' are not in both"):
        jm.rbind(one, a)
    with pytest.raises(DataError, match=r"E48: rbind: m differs, 2 and 1"):
        jm.rbind(one, one.select(1))


def test_combine_cbind_puts_columns_side_by_side(data: pd.DataFrame, one: jm.ImputedData) -> None:
    renamed = data.rename(columns={"w": "v", "x": "p", "y": "q", "z": "r"})
    right = _mice(renamed.drop(columns="g"), 4, cluster=None, method="sample")
    both = jm.cbind(one, right)
    for i in range(3):
        expected = pd.concat([one.complete(i), right.complete(i)], axis=1)
        pd.testing.assert_frame_equal(both.complete(i), expected)
    place = [both.variables.index(name) for name in right.variables]
    np.testing.assert_array_equal(both.chain_mean[place], right.chain_mean)
    matrix = both.predictor_matrix
    assert (matrix.loc["p", list(one.data)] == 0).all()
    assert matrix.loc["p", list(right.data)].equals(right.predictor_matrix.loc["p"])
    assert matrix.loc["x", list(data)].equals(one.predictor_matrix.loc["x"])


def test_combine_cbind_with_columns_in_both(data: pd.DataFrame, one: jm.ImputedData) -> None:
    with pytest.raises(DataError, match=r"E48.*'w', 'x' are in both"):
        jm.cbind(one, data[["w", "x"]])
    both = jm.cbind(one, data[["x"]], on_duplicate="suffix")
    pd.testing.assert_series_equal(both.complete(1)["x_y"], data["x"], check_names=False)
    assert _same(both.filter(np.ones(N, bool)), both)
    with pytest.raises(DataError, match="E48: cbind: the rows differ"):
        jm.cbind(one, data[["x"]].reset_index(drop=True))
    assert _same(jm.cbind(one, data["x"].rename("x_y")), both)
    for wrong in (pd.Series(data["x"].to_numpy(), data.index), data["x"].to_numpy()):
        with pytest.raises(DataError, match="E48: cbind"):
            jm.cbind(one, wrong)


def test_combine_filter_by_a_condition_on_the_data(data: pd.DataFrame, one: jm.ImputedData) -> None:
    some = one.filter("w > 0 and g < 6")
    keep = (data["w"] > 0) & (data["g"] < 6)
    for i in range(3):
        pd.testing.assert_frame_equal(some.complete(i), one.complete(i)[keep])
    assert _same(some, one.filter(keep))
    assert _same(some, one.filter(keep[::-1]))
    with pytest.raises(DataError, match=r"E54: filter.*other row labels"):
        one.filter(keep.rename(str.upper))
    assert some.logged_events["event"].tolist() == ["traces_dropped"]
    assert "norm" in repr(some)
    with pytest.raises(DataError, match="E54: filter"):
        one.filter([True])
    with pytest.raises(RunError, match="E71"):
        some.continue_run(1)


def test_combine_filter_keeps_what_was_deduced() -> None:
    data = two_level(("y",))
    data["size"] = np.repeat(np.arange(CLUSTERS) * 1.5, SIZE)
    data.loc[::SIZE, "size"] = np.nan
    imp = _mice(data, 1, maxit=0)
    first = imp.filter(np.arange(N) % SIZE == 0)
    assert first.complete(1)["size"].tolist() == (np.arange(CLUSTERS) * 1.5).tolist()


def test_combine_assign_computes_in_every_data_set(one: jm.ImputedData) -> None:
    more = one.assign(total=lambda d: d["x"] + d["y"], half=lambda d: d["w"] / 2, unit=1)
    for i in (1, 2):
        expected = one.complete(i)["x"] + one.complete(i)["y"]
        np.testing.assert_array_equal(more.complete(i)["total"], expected)
    assert more.where["total"].equals(more.data["total"].isna())
    assert not more.where[["half", "unit"]].any(axis=None)
    row = more.variables.index("x")
    np.testing.assert_array_equal(more.chain_mean[row], one.chain_mean[one.variables.index("x")])
    changed = one.assign(x=lambda d: d["x"].rank())
    assert changed.where["x"].sum() > one.where["x"].sum()
    assert changed.complete(1)["x"].equals(one.complete(1)["x"].rank())


def test_combine_long_data_round_trip(one: jm.ImputedData) -> None:
    long = one.complete("long", include=True)
    again = jm.as_imputed(long.sample(frac=1, random_state=0).sort_values(".imp"), cluster="g")
    for i in range(3):
        pd.testing.assert_frame_equal(
            again.complete(i).loc[one.data.index], one.complete(i), check_names=False
        )
    assert set(again.method.values()) == {"imported", ""}
    without = jm.as_imputed(long.drop(columns=".id"))
    np.testing.assert_array_equal(without.complete(2)["y"], one.complete(2)["y"])
    listed = jm.from_list(list(one), one.data, cluster="g")
    assert _same(listed, one)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d[d[".imp"] > 0], "E32: rows with .imp == 0"),
        (lambda d: d.drop(columns=".imp"), "E33.*no column '.imp'"),
        (lambda d: d.iloc[:-1], "E33: imputation 2 has 95 rows, imputation 0 96"),
        (lambda d: d.assign(**{".imp": d[".imp"] + 0.5}), "E33.*whole numbers"),
        (lambda d: d.replace({".id": {"r5": "r4"}}), "E33.*repeats the ids 'r4'"),
        (
            lambda d: d.assign(w=d["w"].where(d[".imp"] < 2, d["w"] + 1)),
            "E34: column 'w', row 'r0'.*imputation 2",
        ),
        (lambda d: d[d[".imp"] == 0], "E33.*only the original"),
    ],
)
def test_combine_long_data_that_cannot_be_used(
    one: jm.ImputedData, change: Any, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        jm.as_imputed(change(one.complete("long", include=True)))


def test_combine_where_allows_observed_values_to_differ(one: jm.ImputedData) -> None:
    long = one.complete("long", include=True)
    long["w"] = long["w"].where(long[".imp"] == 0, long["w"] + long[".imp"])
    where = one.where.to_numpy().copy()
    where[:, list(one.data).index("w")] = True
    again = jm.as_imputed(long, where=where)
    np.testing.assert_array_equal(again.complete(2)["w"], one.data["w"] + 2)
    with pytest.raises(DataError, match="E20: where must be booleans"):
        jm.as_imputed(long, where=where[:3])


def test_combine_from_list_refuses_unknown_categories(one: jm.ImputedData) -> None:
    original = one.data.assign(c=pd.Categorical(["a", None] * (N // 2)))
    frames = [frame.assign(c=["a", "b"] * (N // 2)) for frame in one]
    with pytest.raises(DataError, match=r"E34: column 'c', imputation 1: 'b' is no category"):
        jm.from_list(frames, original)
    with pytest.raises(DataError, match="E33: imputation 1 has other rows"):
        jm.from_list([one.data[:4]], one.data)


@pytest.mark.parametrize("combine", [jm.ibind, jm.rbind])
def test_combine_takes_results_only(one: jm.ImputedData, combine: Any) -> None:
    with pytest.raises(DataError, match=r"^E48: .bind: takes imputed data, got int"):
        combine(one, 5)
    with pytest.raises(DataError, match=r"^E54: filter: 'q > 1' cannot be read"):
        one.filter("q > 1")
