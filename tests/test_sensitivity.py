"""Imputing under a grid of shifts: what differs, what does not, and how it is shown."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice import plots
from jaxmice.errors import DataError, JaxMiceError
from tests.frames import two_level

pytestmark = pytest.mark.filterwarnings("ignore:W")

GRID = [1.5, 0, -2]
CALL: dict[str, Any] = {"m": 2, "maxit": 2, "seed": 3, "method": {"x": "norm", "y": "2l.pan"}}


def grid(**options: Any) -> jm.DeltaAdjustment:
    call = {"target": "y", "deltas": GRID, **CALL} | options
    return jm.delta_adjustment(two_level(("x", "y")), "g", **call)


@pytest.fixture(scope="module")
def shifted() -> jm.DeltaAdjustment:
    return grid()


def test_shift_zero_is_the_plain_run_to_the_last_bit(shifted: jm.DeltaAdjustment) -> None:
    plain = jm.mice(two_level(("x", "y")), cluster="g", **CALL)
    for name in ("x", "y"):
        pd.testing.assert_frame_equal(shifted.imputed(0).imp[name], plain.imp[name], rtol=0, atol=0)
    np.testing.assert_array_equal(shifted.imputed(0.0).chain_mean, plain.chain_mean)


def test_every_shift_is_a_run_with_that_shift(shifted: jm.DeltaAdjustment) -> None:
    for delta in (1.5, -2.0):
        post = {"y": jm.post.delta(delta)}
        alone = jm.mice(two_level(("x", "y")), cluster="g", post=post, **CALL)
        for name in ("x", "y"):
            found = shifted.imputed(delta).imp[name]
            pd.testing.assert_frame_equal(found, alone.imp[name], rtol=0, atol=0)
    # The shift is part of the chain.
    assert (shifted.imputed(1.5).imp["x"] != shifted.imputed(0).imp["x"]).all(axis=None)


def test_shifts_together_are_shifts_one_after_another(shifted: jm.DeltaAdjustment) -> None:
    beside = grid(together=True)
    for delta in GRID:
        one, other = beside.imputed(delta), shifted.imputed(delta)
        for name in ("x", "y"):
            pd.testing.assert_frame_equal(one.imp[name], other.imp[name], rtol=1e-9)
        np.testing.assert_allclose(one.chain_icc, other.chain_icc, rtol=1e-7)


def test_some_clusters_and_further_processing() -> None:
    data = two_level(("y",))
    call = CALL | {"method": {"y": "norm"}, "target": "y", "deltas": [0, 4]}
    post = {"y": jm.post.squeeze(-3, 3)}
    g = data["g"][data["y"].isna()].to_numpy()[:, None]
    for by, factor in (([2, 7], np.isin(g, [2, 7]) * 1.0), ({5: -0.5}, (g == 5) * -0.5)):
        found = jm.delta_adjustment(data, "g", by=by, post=post, **call)
        raw = jm.mice(data, cluster="g", **CALL | {"method": {"y": "norm"}}).imp["y"]
        expected = (raw + 4 * factor).clip(-3, 3)
        np.testing.assert_allclose(found.imputed(4).imp["y"], expected, rtol=1e-9)
        np.testing.assert_allclose(found.imputed(0).imp["y"], raw.clip(-3, 3), rtol=1e-9)


def test_categories_are_shifted_by_log_odds() -> None:
    # The same uniform numbers below probabilities that only rise: no cell goes back.
    data = two_level(("y",)).drop(columns="g")
    data["high"] = pd.array(data["y"] > 0, dtype="boolean")
    data.loc[data["y"].isna(), "high"] = pd.NA
    call = CALL | {"method": "logreg", "maxit": 1, "m": 20}
    found = jm.delta_adjustment(
        data.drop(columns="y"), target="high", deltas=[-1, 0, 1, 50], **call
    )
    drawn = [found.imputed(delta).imp["high"].to_numpy(bool) for delta in found.deltas]
    for low, high in pairwise(drawn):
        assert (low <= high).all()
        assert low.mean() < high.mean()
    assert drawn[-1].all()
    plain = jm.mice(data.drop(columns="y"), **call).imp["high"]
    np.testing.assert_array_equal(drawn[1], plain.to_numpy(bool))


def test_estimates_by_shift_and_their_figure(shifted: jm.DeltaAdjustment) -> None:
    table = shifted.estimate("y ~ w + (1 | g)", engine="lmm", level=0.9)
    assert table["delta"].tolist() == np.repeat(GRID, 2).tolist()
    alone = jm.pool(shifted.imputed(-2).analyze("y ~ w + (1 | g)")).summary(level=0.9)
    own = table[table["delta"] == -2].drop(columns="delta").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone)
    rows = table[table["term"] == "w"].sort_values("delta")
    ax = plots.plot_sensitivity(table, "w")
    assert ax.get_ylabel() == "w"
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), rows[["delta", "estimate"]])
    (bars,) = [c for c in ax.collections if len(c.get_paths()) == 3]
    ends = [path.vertices[:, 1] for path in bars.get_paths()]
    np.testing.assert_allclose(ends, rows[["conf.low", "conf.high"]])
    with pytest.raises(ValueError, match="no term 'W'; did you mean 'w'"):
        plots.plot_sensitivity(table, "W")
    with pytest.raises(ValueError, match=r"lacks the columns delta, conf\.low"):
        plots.plot_sensitivity(table.drop(columns=["delta", "conf.low"]), "w")


def test_shifts_that_do_not_exist(shifted: jm.DeltaAdjustment) -> None:
    with pytest.raises(DataError, match=r"E54: no imputations for delta 3; there is 1\.5, 0, -2"):
        shifted.imputed(3)
    assert repr(shifted) == "DeltaAdjustment: 'y' moved by 1.5, 0, -2, m = 2 each"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"deltas": []}, "E51: deltas must be different finite numbers"),
        ({"deltas": 1}, "E51: deltas must be"),
        ({"deltas": [0, 0.0]}, "E51: deltas must be"),
        ({"deltas": [0, np.nan]}, "E51: deltas must be"),
        ({"target": "z"}, "E27: target 'z' is not imputed"),
        ({"by": "g"}, "E51: by must be a list of clusters"),
        ({"by": {1: "a"}}, "E51: by must name clusters, with a finite number each"),
        ({"by": [99]}, r"E51: post\['y'\]: delta names clusters 99"),
        ({"where": "q > 1"}, "E30.*unknown name 'q'"),
        ({"m": 0}, "E09"),
    ],
)
def test_arguments_that_cannot_be_used(options: dict[str, Any], text: str) -> None:
    with pytest.raises(JaxMiceError, match=text):
        grid(**options)
