"""Expressions that compute a column: what they mean and what they refuse."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import encode
from jaxmice.model.expressions import Expression, parse

DATA = pd.DataFrame(
    {
        "g": ["a", "a", "a", "b", "b", "c"],
        "x": [1.0, 2.0, 4.0, -3.0, 0.5, 8.0],
        "y": [2.0, 2.0, 0.5, 1.0, -1.0, 3.0],
        "body weight": [60.0, 70.0, 80.0, 90.0, 50.0, 65.0],
        "log.income": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "girl": [True, False, True, True, False, False],
        "ct": pd.Categorical(list("IIVIVV"), ["I", "V"]),
        "grade": pd.Categorical([1, 2, 3, 3, 2, 1], [1, 2, 3], ordered=True),
        "when": pd.to_datetime(["2020-01-01"] * 6),
    }
)
CODES = np.array([0, 0, 0, 1, 1, 2])


@pytest.fixture(scope="module")
def columns():
    with pytest.warns(match="W0[58]"):
        return encode(DATA, cluster="g", events=EventLog()).columns


class ByCluster:
    """Sums over three clusters, for either kind of array."""

    def sum(self, values):
        filled = np.zeros(6) + np.asarray(values)
        return np.bincount(CODES, filled)[CODES]

    def size(self):
        return np.bincount(CODES)[CODES].astype(float)


def value(expression: Expression, columns, xp=np) -> np.ndarray:
    out = expression(xp, lambda name: xp.asarray(columns[name].values), ByCluster())
    return np.broadcast_to(np.asarray(out, float), 6)


X, Y, W = (DATA[name].to_numpy() for name in ("x", "y", "body weight"))
MEAN = np.array([7, 7, 7, -2.5, -2.5, 8]) / [3, 3, 3, 2, 2, 1]
CASES = {
    "x + y * 2": X + Y * 2,
    "x / y**2": X / Y**2,
    "-x^2 + I(y)^2": -(X**2) + Y**2,
    "x + y^2": X + Y**2,
    "(x + y) ** 3 - 1e-3": (X + Y) ** 3 - 1e-3,
    "x ** 0.5 * 0": np.where(X < 0, np.nan, 0.0),
    "x // 2 + x % 2": X // 2 + X % 2,
    "+x - -y": X + Y,
    "log(abs(x)) + log1p(exp(y))": np.log(np.abs(X)) + np.log1p(np.exp(Y)),
    "sqrt(abs(y))": np.sqrt(np.abs(Y)),
    "minimum(x, 1) + maximum(y, 1)": np.minimum(X, 1) + np.maximum(Y, 1),
    "where(x > 1, x, 2 * y)": np.where(X > 1, X, 2 * Y),
    "(x > 1) & ~(y >= 2) | (x < -2)": ((X > 1) & ~(Y >= 2)) | (X < -2),
    "x > 1 and not y >= 2 or x < -2": ((X > 1) & ~(Y >= 2)) | (X < -2),
    "0 < x <= 2": (X > 0) & (X <= 2),
    "(x > 1) * y + (y != 2)": (X > 1) * Y + (Y != 2),
    "`body weight` / 2": W / 2,
    "log.income - 1": np.arange(6.0),
    "girl * x": X * DATA["girl"],
    "girl & (x > 1)": DATA["girl"] & (X > 1),
    "ct == 'V'": DATA["ct"] == "V",
    '"I" != ct': DATA["ct"] != "I",
    "grade >= 2": DATA["grade"] >= 2,
    "2 > grade": DATA["grade"] < 2,
    "mean(x)": MEAN,
    "x - mean(x)": X - MEAN,
    "sum(x * y) / size()": np.bincount(CODES, X * Y)[CODES] / np.bincount(CODES)[CODES],
    "(sum(x) - x) / maximum(size() - 1, 1)": (np.bincount(CODES, X)[CODES] - X)
    / np.maximum(np.bincount(CODES)[CODES] - 1, 1),
    "x +\n y": X + Y,
    "2 * 3 + True": np.full(6, 7.0),
}


@pytest.mark.parametrize("text", CASES)
def test_expression_means_the_same_as_in_numpy(text, columns) -> None:
    found = parse(text, columns, "rule", clustered=True)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(value(found, columns), CASES[text], rtol=1e-14)
    np.testing.assert_allclose(value(found, columns, jnp), CASES[text], rtol=1e-5, atol=1e-5)
    assert found == parse(text, columns, "rule", clustered=True)
    assert hash(found) == hash(parse(text, columns, "rule", clustered=True))


def test_expression_knows_its_columns(columns) -> None:
    found = parse("x + mean(y * `body weight`) - sum(x)", columns, "rule", clustered=True)
    assert found.direct == ("x",)
    assert found.pooled == ("body weight", "x", "y")
    assert not found.logical
    assert parse("girl | (x > 1)", columns, "rule", clustered=True).logical


REFUSED = {
    "x +": "no expression",
    "": "not allowed",
    "(" * 3000: "no expression",
    "hight / 2": "unknown name 'hight'",
    "X": "did you mean 'x'",
    "lgo(x)": "unknown function 'lgo'; did you mean 'log'",
    "x.__class__": "unknown name",
    "__import__('os').system('ls')": "not allowed",
    "eval('x')": "unknown function",
    "[x for x in y]": "not allowed",
    "x[0]": "not allowed",
    "lambda: x": "not allowed",
    "x if y else 1": "not allowed",
    "(x := 3)": "not allowed",
    "x, y": "not allowed",
    "x @ y": "not allowed",
    "x << 2": "not allowed",
    "log(x, base=2)": "not allowed",
    "minimum(*x)": "takes 2 arguments",
    "log(x, y)": "takes 1 arguments",
    "f'{x}'": "not allowed",
    "None": "not allowed",
    "3j": "not allowed",
    "1e999 * x": "not allowed",
    "1 / 0": "cannot be computed",
    "10 ** 10 ** 10": "cannot be computed",
    "x > 1 & y < 2": "brackets",
    "~x": "brackets",
    "where(x, 1, 2)": "needs conditions",
    "x in y": "not allowed",
    "ct": "has categories; compare it",
    "ct + 1": "has categories; compare it",
    "mean(ct)": "has categories; compare it",
    "ct == 'VI'": "has no category 'VI'",
    "ct > 'I'": "no order",
    "ct == x": "only be compared with its values",
    "grade == '2'": "has no category '2'",
    "x == 'a'": "can only be compared with a category",
    "'a'": "can only be compared",
    "g + 1": "the cluster column",
    "when + 1": "kind time",
}


@pytest.mark.parametrize("text", list(REFUSED))
def test_expression_refuses(text, columns) -> None:
    with pytest.raises(ModelError, match=REFUSED[text]) as caught:
        parse(text, columns, "rule for 'bmi'", clustered=True)
    assert caught.value.code == "E30"
    assert "rule for 'bmi'" in str(caught.value)


def test_expression_without_clusters_has_no_cluster_functions(columns) -> None:
    with pytest.raises(ModelError, match=r"E30: rule: mean\(\) is over a cluster"):
        parse("mean(x)", columns, "rule", clustered=False)
