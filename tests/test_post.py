"""Post-processing of imputed cells: exact shifts, legal values, and what is refused."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.errors import ModelError, RunError
from tests.frames import two_level
from tests.statistics import FALSE_ALARM_RATE

pytestmark = pytest.mark.filterwarnings("ignore:W")

CALL: dict[str, Any] = {"m": 2, "maxit": 1, "seed": 3, "cluster": "g"}


def impute(post: Any = None, data: Any = None, **options: Any) -> jm.ImputedData:
    data = two_level(("x", "y")) if data is None else data
    return jm.mice(data, post=post, **CALL | {"method": "norm"} | options)


def kinds() -> pd.DataFrame:
    """Return w and x complete, and of every other kind a column with holes."""
    data = two_level(())
    data["visits"] = np.rint(3 + 2 * data["z"]).astype("Int64")
    data["sex"] = pd.Categorical(np.where(data["w"] > 0, "girl", "boy"))
    data["yes"] = (data["y"] > 0).astype("boolean")
    for k, name in enumerate(("visits", "sex", "yes")):
        data.loc[k :: 5 + k, name] = pd.NA if name != "sex" else np.nan
    return data.drop(columns=["y", "z"])


@pytest.fixture(scope="module")
def plain() -> jm.ImputedData:
    return impute()


@pytest.mark.parametrize("method", ["norm", "pmm", "2l.pan"])
def test_delta_moves_every_draw_by_the_shift(method: str, plain: jm.ImputedData) -> None:
    shift = {"y": jm.post.delta(-0.75)}
    before = plain if method == "norm" else impute(method={"x": "norm", "y": method})
    after = impute(shift, method={"x": "norm", "y": method})
    np.testing.assert_allclose(after.imp["y"] - before.imp["y"], -0.75, rtol=1e-12)
    pd.testing.assert_frame_equal(after.imp["x"], before.imp["x"])
    at = plain.variables.index("y")
    np.testing.assert_allclose(after.chain_mean[at, -1], after.imp["y"].mean(), rtol=1e-12)
    np.testing.assert_allclose(after.chain_var[at], before.chain_var[at], rtol=1e-9)


def test_delta_by_cluster_scale_and_condition(plain: jm.ImputedData) -> None:
    data, before = two_level(("x", "y")), plain.imp["y"]
    g = data["g"].loc[before.index].to_numpy()
    by_cluster = impute({"y": jm.post.delta({2: 1.5, 7: -3.0})}).imp["y"]
    expected = np.select([g == 2, g == 7], [1.5, -3.0], 0.0)[:, None]
    np.testing.assert_allclose(by_cluster - before, expected + np.zeros((1, 2)), atol=1e-12)
    stretched = impute({"y": jm.post.delta(1, scale=2)}).imp["y"]
    np.testing.assert_allclose(stretched, 1 + 2 * before, rtol=1e-12)
    some = impute({"y": [jm.post.delta(1, where="(x > 0) & (w < mean(w))")]})
    mean = data.groupby("g")["w"].transform("mean").loc[before.index].to_numpy()
    for i in (1, 2):
        x = some.complete(i)["x"].loc[before.index]
        moved = (x > 0) & (data["w"].loc[before.index] < mean)
        assert 0 < moved.sum() < len(moved)
        np.testing.assert_allclose(some.imp["y"][i] - before[i], moved.astype(float), atol=1e-12)


def test_delta_is_part_of_the_chain() -> None:
    # x is missing only where y is too, so the slope of y on x does not know of the shift.
    data, full = two_level(("x", "y")), two_level(())
    data["x"] = data["x"].where(data["y"].isna(), full["x"])
    plain, shifted = impute(None, data), impute({"x": jm.post.delta(5)}, data)
    np.testing.assert_allclose(shifted.imp["x"] - plain.imp["x"], 5, rtol=1e-12)
    cells = data["x"].isna()
    moved = shifted.imp["y"] - plain.imp["y"]
    np.testing.assert_allclose(moved[~cells[moved.index]], 0, atol=1e-9)
    slopes = moved[cells[moved.index]] / 5
    assert slopes.to_numpy().min() > 0.2
    np.testing.assert_allclose(slopes - slopes.iloc[0], 0, atol=1e-9)
    longer = impute({"x": jm.post.delta(5)}, data, maxit=2)
    pd.testing.assert_frame_equal(shifted.continue_run(1).complete(2), longer.complete(2))
    more = shifted.add_imputations(1)
    pd.testing.assert_frame_equal(more.complete(2), shifted.complete(2), rtol=1e-9)


def test_delta_of_a_category_moves_its_log_odds() -> None:
    # 20 columns x 24 cells, drawn with log odds moved by 1: without predictors the share of
    # True is that of the shifted probability. |z| > 4.5 has probability 7e-6.
    data = two_level(("y",))
    seen = data["y"].notna().to_numpy()
    data["y"] = pd.array(np.where(seen, np.arange(96) % 3 == 0, False), dtype="boolean")
    data.loc[~seen, "y"] = pd.NA
    roles = {"y": {name: "none" for name in ("g", "w", "x", "z")}}
    call: dict[str, Any] = {"data": data, "method": "logreg", "roles": roles, "m": 200}
    drawn = {
        shift: impute({"y": jm.post.delta(shift)}, **call).imp["y"].mean(axis=0).astype(float)
        for shift in (0.0, 1.0)
    }
    p = drawn[0.0].mean()
    odds = p / (1 - p) * np.e
    error = np.hypot(drawn[0.0].std(), drawn[1.0].std()) / np.sqrt(200)
    assert abs(drawn[1.0].mean() - odds / (1 + odds)) < 4.5 * error + 0.01
    assert drawn[1.0].mean() - p > 10 * error


def test_delta_of_a_category_by_cluster_and_condition() -> None:
    data = kinds()
    methods = {"visits": "norm", "sex": "logreg", "yes": "logreg"}
    shifts = [jm.post.delta(60, where="w > 0"), jm.post.delta(-60, where="w <= 0")]
    post = {"sex": shifts, "yes": jm.post.delta({g: (-1) ** g * 90.0 for g in range(12)})}
    imp = impute(post, data, method=methods)
    for frame in imp:
        cells = data["sex"].isna()
        girl = np.where(data["w"] > 0, "girl", "boy")
        np.testing.assert_array_equal(frame["sex"][cells], girl[cells])
        cells = data["yes"].isna()
        np.testing.assert_array_equal(frame["yes"][cells], (data["g"] % 2 == 0)[cells])


def test_processed_values_are_legal() -> None:
    data = kinds().assign(y=two_level(("y",))["y"])
    post = {
        "visits": [jm.post.squeeze(0, 4), jm.post.round()],
        "y": [jm.post.round(1), jm.post.squeeze()],
        "sex": jm.post.set_where("visits > 3", "boy"),
        "yes": jm.post.set_where("visits == 0", True),
    }
    methods = {"visits": "norm", "y": "norm", "sex": "logreg", "yes": "logreg"}
    for precision in ("float64", "float32"):
        imp = impute(post, data, method=methods, precision=precision, m=5)
        visits, y = imp.imp["visits"].to_numpy(), imp.imp["y"].to_numpy()
        assert set(visits.ravel()) == {0, 1, 2, 3, 4}
        low, high = data["y"].min(), data["y"].max()
        assert (low <= y).all()
        assert (y <= high).all()
        inside = y[(y > low) & (y < high)]
        np.testing.assert_array_equal(inside, inside.round(1))
        for frame in imp:
            assert frame["visits"].dtype == data["visits"].dtype
            high = data["sex"].isna() & (frame["visits"] > 3)
            assert (frame["sex"][high] == "boy").all()
            none = data["yes"].isna() & (frame["visits"] == 0)
            assert none.any()
            assert frame["yes"][none].all()
            for name in post:
                seen = data[name].notna()
                pd.testing.assert_series_equal(frame.loc[seen, name], data.loc[seen, name])


def test_processors_are_applied_in_their_order(plain: jm.ImputedData) -> None:
    found = impute(
        {"y": [jm.post.squeeze(-0.5), lambda y, c: 3 * y + 0 * c["x"], jm.post.round(2)]}
    )
    expected = (3 * plain.imp["y"].clip(-0.5)).round(2)
    np.testing.assert_array_equal(found.imp["y"], expected)
    own = impute({"y": jm.post.set_where("y > 0", 0.0)})
    np.testing.assert_allclose(own.imp["y"], plain.imp["y"].clip(upper=0), atol=1e-15)


def test_redrawn_values_follow_the_truncated_law() -> None:
    roles = {"y": {name: "none" for name in ("g", "w", "x", "z")}}
    call: dict[str, Any] = {"data": two_level(("y",)), "roles": roles, "m": 200}
    free = impute(**call).imp["y"].to_numpy().ravel()
    low = float(np.median(free))
    drawn = impute({"y": [jm.post.redraw(low), jm.post.round(3)]}, **call)
    values = drawn.imp["y"].to_numpy().ravel()
    assert values.min() >= round(low, 3)
    assert stats.ks_2samp(values, free[free > low]).pvalue > FALSE_ALARM_RATE
    assert stats.ks_2samp(values, free).pvalue < FALSE_ALARM_RATE
    assert "post_clip" not in set(drawn.logged_events["event"])

    far = impute({"y": jm.post.redraw(1e6)}, **call)
    assert (far.imp["y"] == 1e6).all(axis=None)
    message = far.logged_events.set_index("event")["message"]["post_clip"]
    assert f"{free.size} values were outside" in message


def test_processed_observed_cells_that_are_imputed_again(plain: jm.ImputedData) -> None:
    where = two_level(("x", "y")).isna().assign(w=True)
    over: dict[str, Any] = {"where": where, "visit_sequence": ["w", "x", "y"]}
    moved = impute({"w": jm.post.delta(100)}, **over)
    still = impute(None, **over)
    np.testing.assert_allclose(moved.imp["w"] - still.imp["w"], 100, rtol=1e-9)
    pd.testing.assert_frame_equal(moved.imp["y"], still.imp["y"])


def test_passive_columns_follow_processed_values() -> None:
    data = two_level(("x", "y")).assign(square=np.nan)
    imp = impute({"x": jm.post.squeeze(-1, 1)}, data, passive={"square": "x^2"})
    for frame in imp:
        np.testing.assert_array_equal(frame["square"], frame["x"] ** 2)
    assert imp.imp["square"].to_numpy().max() <= 1
    at = imp.variables.index("square")
    np.testing.assert_allclose(imp.chain_mean[at, -1], imp.imp["square"].mean(), rtol=1e-9)


def test_processed_data_sets_side_by_side() -> None:
    frames = [two_level(("x", "y")), two_level(("x", "y"), seed=1)]
    settings: dict[str, Any] = CALL | {"method": "norm", "screen": "off"}
    post = {"y": [jm.post.delta({3: 4.0}), jm.post.squeeze()]}
    results = jm.replicate(frames, post=post, **settings)
    for frame, imp in zip(frames, results, strict=True):
        assert imp.imp["y"].to_numpy().max() <= frame["y"].max()
    alone = jm.mice(frames[0], post=post, **settings)
    np.testing.assert_allclose(alone.imp["y"], results[0].imp["y"], rtol=1e-9)


def test_processed_values_that_are_not_finite_stop_the_run() -> None:
    with pytest.raises(RunError, match=r"E31: post-processing of 'y'.*first in row 0, cluster 0"):
        impute({"y": lambda y, c: jnp.log(-jnp.abs(y))})


REFUSED: dict[str, tuple[Any, str, str]] = {
    "no dict": ([jm.post.round()], "E51", "must be a dict"),
    "unknown column": ({"visit": jm.post.round()}, "E27", "did you mean 'visits'"),
    "no processor": ({"visits": "squeeze(0, 9)"}, "E51", "made by jaxmice.post"),
    "clusters of no name": ({"visits": jm.post.delta({99: 1})}, "E51", "clusters 99"),
    "unknown name": ({"visits": jm.post.set_where("q > 1", 0)}, "E30", "unknown name 'q'"),
    "no condition": ({"visits": jm.post.set_where("w", 0)}, "E30", "no condition"),
    "text for a number": ({"visits": jm.post.set_where("w > 0", "a")}, "E51", "no number"),
    "no category": ({"sex": jm.post.set_where("w > 0", "man")}, "E51", "'boy', 'girl'"),
    "rounded category": ({"sex": jm.post.round()}, "E51", "delta and set_where only"),
    "scaled category": ({"sex": jm.post.delta(1, 2)}, "E51", "for numbers only"),
    "incomplete condition": ({"sex": jm.post.delta(1, 1, "visits > 1")}, "E30", "'visits' is not"),
    "redrawn category": ({"sex": jm.post.redraw(0)}, "E51", "delta and set_where only"),
    "late redraw": ({"visits": [jm.post.round(), jm.post.redraw(0)]}, "E51", "must come first"),
    "untraceable": ({"visits": lambda v, c: v if v > 0 else 0 * v}, "E28", "not traceable"),
    "across rows": ({"visits": lambda v, c: v - v.mean()}, "E28", "rows depend"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_processors_that_do_not_fit(case: str) -> None:
    post, code, text = REFUSED[case]
    methods = {"visits": "norm", "sex": "logreg", "yes": "logreg"}
    with pytest.raises(ModelError, match=text) as caught:
        jm.setup(kinds(), methods, post=post, cluster="g")
    assert caught.value.code == code


def test_processors_that_do_not_fit_the_method_or_level() -> None:
    with pytest.raises(ModelError, match=r"E51.*'pmm' has no linear predictor"):
        jm.setup(kinds(), {"yes": "pmm"}, post={"yes": jm.post.delta(1)})
    with pytest.raises(ModelError, match=r"E51.*needs a cluster column"):
        jm.setup(kinds(), "pmm", post={"visits": jm.post.delta({1: 1})})
    data = kinds().assign(high=np.nan)
    with pytest.raises(ModelError, match=r"E51.*'high' is computed"):
        jm.setup(data, passive={"high": "visits > 2"}, post={"high": jm.post.round()})
    data = kinds()
    data["size"] = np.repeat(np.arange(12.0), 8) % 5
    data["size"] = data["size"].mask(data["g"] == 3)
    with pytest.raises(ModelError, match=r"E30.*'size' is constant in clusters, 'w' is not"):
        jm.setup(
            data, {"size": "2lonly.norm"}, cluster="g", post={"size": jm.post.delta(1, 1, "w > 0")}
        )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: jm.post.squeeze(2, 1), "2 is above 1"),
        (lambda: jm.post.squeeze("0"), "no number"),
        (lambda: jm.post.squeeze(float("nan")), "no number"),
        (lambda: jm.post.round(0.5), "whole number"),
        (lambda: jm.post.redraw(), "give a bound"),
        (lambda: jm.post.redraw(0, 1, 0), "positive integer"),
        (lambda: jm.post.set_where(3, 1), "must be text"),
        (lambda: jm.post.set_where("x > 1", None), "neither a number"),
        (lambda: jm.post.delta({1: None}), "no number"),
        (lambda: jm.post.delta(1, None), "no number"),
        (lambda: jm.post.delta(1, where=lambda c: c), "must be text"),
    ],
)
def test_arguments_of_processors(make: Any, text: str) -> None:
    with pytest.raises(ModelError, match=f"E51.*{text}"):
        make()
