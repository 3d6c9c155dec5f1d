"""Methods for values missing not at random: the stated shift and no other."""

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import ModelError
from tests.frames import two_level

pytestmark = pytest.mark.filterwarnings("ignore:W")

CALL = {"m": 2, "maxit": 1, "seed": 3}


def numbers() -> pd.DataFrame:
    return two_level(("x", "y")).drop(columns="g")


def test_mnar_norm_is_norm_plus_the_shift() -> None:
    """Draw by draw, with the completed values of an incomplete column in the shift."""
    at_random = jm.mice(numbers(), method={"x": "norm", "y": "norm"}, **CALL)
    method, options = {"x": "norm", "y": "mnar.norm"}, {"y": {"delta": "-3 + 2*x - w"}}
    shifted = jm.mice(numbers(), method=method, options=options, **CALL)
    data = numbers().loc[shifted.imp["y"].index]
    for i in (1, 2):
        x = shifted.complete(i)["x"].loc[data.index]
        delta = shifted.imp["y"][i] - at_random.imp["y"][i]
        np.testing.assert_allclose(delta, -3 + 2 * x - data["w"], atol=1e-9)
    pd.testing.assert_frame_equal(shifted.imp["x"], at_random.imp["x"])
    plain = jm.mice(numbers(), method=method, options={"y": {"delta": 1.5}}, **CALL)
    np.testing.assert_allclose(plain.imp["y"] - at_random.imp["y"], 1.5, rtol=1e-9)
    # A shift in the options comes before what else is done to the values.
    post = {"y": jm.post.squeeze(-1, 1)}
    clipped = jm.mice(numbers(), method=method, options={"y": {"delta": 1.5}}, post=post, **CALL)
    np.testing.assert_allclose(clipped.imp["y"], plain.imp["y"].clip(-1, 1), rtol=1e-9)


def test_mnar_logreg_shifts_the_log_odds() -> None:
    data = two_level(("y",)).drop(columns=["g", "x", "z"])
    sex = pd.Categorical(np.where(data["y"] > 0, "girl", "boy"))
    data["sex"] = sex
    data.loc[data["y"].isna(), "sex"] = np.nan
    data = data.drop(columns="y")
    call = {"m": 200, "maxit": 1, "seed": 3}
    at_random = jm.mice(data, method="logreg", **call).imp["sex"]
    method, options = "mnar.logreg", {"sex": {"delta": "40 * (w > 0) - 2 * (w <= 0)"}}
    shifted = jm.mice(data, method=method, options=options, **call).imp["sex"]
    high = (data["w"] > 0).loc[shifted.index]
    assert (shifted[high] == "girl").all(axis=None)
    odds = [(frame[~high] == "girl").to_numpy().mean() for frame in (at_random, shifted)]
    # By no more than the shift, and by most of it.
    fall = np.diff(np.log(odds) - np.log1p(-np.array(odds)))[0]
    assert -2.3 < fall < -1.2


@pytest.mark.parametrize(
    ("delta", "code", "text"),
    [
        ("1 + age", "E30", r"post\['y'\]: unknown name 'age'"),
        ([1], "E51", "mnar.norm: delta must be a number or text"),
        (True, "E51", "mnar.norm: delta must be a number or text"),
    ],
)
def test_shifts_that_cannot_be_read(delta: object, code: str, text: str) -> None:
    with pytest.raises(ModelError, match=rf"{code}.*{text}"):
        jm.setup(numbers(), {"x": "norm", "y": "mnar.norm"}, options={"y": {"delta": delta}})


def test_the_log_odds_are_shifted_by_complete_columns() -> None:
    data = numbers()
    data["sex"] = pd.Categorical(np.where(data["w"] > 0, "girl", "boy"))
    data.loc[::5, "sex"] = np.nan
    with pytest.raises(ModelError, match=r"E30.*complete columns; 'x' is not complete"):
        jm.setup(data, {"sex": "mnar.logreg"}, options={"sex": {"delta": "x"}})
