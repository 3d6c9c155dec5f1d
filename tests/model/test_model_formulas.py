"""Formulas in place of rows of codes."""

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from tests.frames import two_level


def frame() -> pd.DataFrame:
    data = two_level(("y", "x"))
    data["s"] = pd.Categorical(np.where(np.arange(len(data)) % 3 == 0, "girl", "boy"))
    data["z"] = data.groupby("g")["z"].transform("mean")
    return data


def row(formula: str, target: str = "y", **options: object) -> pd.Series:
    matrix = jm.setup(frame(), formulas={target: formula}, **options).predictor_matrix
    return matrix.loc[target][lambda codes: codes != 0]


@pytest.mark.parametrize(
    ("formula", "codes"),
    [
        ("y ~ x + (1 | g)", {"g": -2, "x": 1}),
        ("y ~ x + mean(x) + (1 + x | g)", {"g": -2, "x": 4}),
        ("y ~ x + mean(x) + z + (1 | g)", {"g": -2, "x": 3, "z": 1}),
        ("y ~ x * z + (1 | g)", {"g": -2, "x": 1, "z": 1, "x:z": 1}),
        ("y ~ w + w:s + (1 | g)", {"g": -2, "w": 1, "w:s=girl": 1}),
        ("y ~ w + I(w**2) + (1 | g)", {"g": -2, "w": 1, "I(w ** 2)": 1}),
        ("y ~ . - s + (1 | g)", {"g": -2, "w": 1, "x": 1, "z": 1}),
        ("y ~ mean(x):z + (0 + w | g)", {"g": -2, "w": 2, "mean(x):z": 1}),
    ],
)
def test_rows(formula: str, codes: dict[str, int]) -> None:
    assert row(formula).to_dict() == codes


def test_random_part_decides_on_levels() -> None:
    data = frame()
    with pytest.warns(jm.errors.JaxMiceWarning, match="W14"):
        flat = jm.setup(data, cluster="g", formulas={"y": "y ~ x"})
    assert flat.method["y"] == "pmm"
    dummies = jm.setup(data, cluster="g", formulas={"y": "y ~ x + g"})
    assert next(v for v in dummies.visits if v.block == "y").absorb
    assert jm.setup(data, formulas={"y": "y ~ x + (1 | g)"}).method["y"].startswith("2l.")


def test_products_follow_their_factors() -> None:
    data = frame()
    formula = {"y": "y ~ x:w + (1 | g)", "x": "x ~ w + (1 | g)"}
    imp = jm.mice(data, m=2, maxit=2, formulas=formula, method="2l.pan", seed=1)
    assert list(imp.complete(1)) == list(imp.where) == list(data)
    assert set(imp.imp) == set(imp.variables) == {"x", "y"}
    assert not imp.complete("stacked").isna().any().any()
    # The product as a column of the user's gives the same draws.
    own = data.assign(product=np.nan)
    roles = {
        "y": {"g": "cluster", "product": "fixed", **dict.fromkeys("wxzs", "none")},
        "x": {"g": "cluster", "w": "fixed", **dict.fromkeys([*"yzs", "product"], "none")},
    }
    options = dict(passive={"product": "x * w"}, roles=roles, method="2l.pan", cluster="g")
    same = jm.mice(own, m=2, maxit=2, seed=1, **options)
    np.testing.assert_allclose(imp.imp["y"], same.imp["y"], rtol=1e-9)


def test_block_of_several_targets() -> None:
    model = jm.setup(frame(), formulas={"both": "x + y ~ w + (1 | g)"}, method={"both": "pan"})
    assert model.blocks["both"] == ("x", "y")
    assert model.visits[0].targets == ("x", "y")


def test_formula_beats_codes() -> None:
    formula = {"y": "y ~ w + (1 | g)"}
    model = jm.setup(frame(), formulas=formula, roles={"y": {"x": "random"}})
    assert model.predictor_matrix.loc["y", "x"] == 0
    assert "formula_overrides_row" in [event.event for event in model.events]


@pytest.mark.parametrize(
    ("formula", "code", "message"),
    [
        ("y ~ y + x", "E17", "itself"),
        ("y ~ y:x", "E17", "itself"),
        ("y ~ foo(x)", "E18", "unknown function 'foo'"),
        ("y ~ wrong", "E18", "unknown name 'wrong'"),
        ("y ~ x + (1 | w)", "E18", "no cluster column"),
        ("y ~ x + (1 || g)", "E18", r"\|\|"),
        ("y ~ x +", "E18", "cannot be read"),
        ("x ~ w", "E18", "must name 'y'"),
        ("y ~ C(w)", "E18", "category first"),
        ("y ~ g:x", "E18", "no place in a product"),
    ],
)
def test_complaints(formula: str, code: str, message: str) -> None:
    with pytest.raises(jm.errors.ModelError, match=f"{code}: .*{message}"):
        jm.setup(frame(), cluster="g", formulas={"y": formula})


def test_formulas_are_by_target() -> None:
    with pytest.raises(jm.errors.ModelError, match="E18"):
        jm.setup(frame(), formulas="y ~ x")
    with pytest.raises(jm.errors.ModelError, match="E27"):
        jm.setup(frame(), cluster="g", formulas={"q": "y ~ x"}, blocks="scatter")


@pytest.mark.filterwarnings("ignore:W")
def test_formulas_of_a_model_describe_it() -> None:
    data = frame()
    data["z"] = data["z"].mask(data["g"] == 2)
    data = data.rename(columns={"w": "w of"})
    roles = {"y": {"x": "random+mean", "s": "random"}}
    for options in ({"cluster": "g"}, {"cluster": "g", "roles": roles, "method": {"y": "2l.pan"}}):
        model = jm.setup(data, **options)
        formulas = jm.make_formulas(data, **options)
        again = jm.setup(data, formulas=formulas, method=model.method)
        assert set(formulas) == {"x", "y", "z"}
        pd.testing.assert_frame_equal(again.predictor_matrix, model.predictor_matrix)
        assert again.method == model.method
    assert formulas["y"].startswith("y ~ `w of` + mean(`w of`) + x + mean(x) + ")
    assert formulas["y"].endswith("(1 + x + s | g)")
    assert "mean(y)" in formulas["z"]
    assert "|" not in formulas["z"]
