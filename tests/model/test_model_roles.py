"""Roles, codes, and the way between them."""

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import JaxMiceError
from jaxmice.model import role, setup
from jaxmice.model.roles import ROLE_NAMES, compile_roles, role_code, roles_of

COLUMNS = ["g", "y", "x", "z"]
BLOCKS = {name: (name,) for name in COLUMNS}


def compiled(roles: dict) -> dict[tuple[str, str], int]:
    return {(block, column): code for block, column, code in compile_roles(roles, BLOCKS, COLUMNS)}


@pytest.mark.parametrize(("code", "name"), ROLE_NAMES.items())
def test_every_code_has_a_name_that_compiles_back(code: int, name: str) -> None:
    assert role_code(name, "") == code


@pytest.mark.parametrize(
    ("text", "code"),
    [(" random + mean ", 4), ("mean", 3), ("mean+fixed", 3), ("fixed+random", 2), ("none", 0)],
)
def test_roles_add_up(text: str, code: int) -> None:
    assert role_code(text, "") == code


@pytest.mark.parametrize(
    ("roles", "cells"),
    [
        ({"y": {"x": "random"}}, {("y", "x"): 2}),
        ({"y": {}}, {}),
        ({"y": "x, z"}, {("y", "x"): 1, ("y", "z"): 1, ("y", "g"): 0, ("y", "y"): 0}),
        ({"y": ""}, {("y", c): 0 for c in COLUMNS}),
        (
            {"y": role.cluster("g") + role.random("x") + role.mean("x")},
            {("y", "g"): -2, ("y", "x"): 4, ("y", "z"): 0, ("y", "y"): 0},
        ),
        ({"*": {"x": "none"}}, {(block, "x"): 0 for block in COLUMNS}),
        # The entry of the target wins, whatever the order.
        (
            {"y": {"x": "random"}, "*": {"x": "none", "z": "fixed"}},
            {(b, "x"): 0 for b in COLUMNS} | {(b, "z"): 1 for b in COLUMNS} | {("y", "x"): 2},
        ),
        # A whole row leaves nothing to the entry for all.
        (
            {"*": {"z": "random"}, "y": "x"},
            {(b, "z"): 2 for b in ("g", "x", "z")}
            | {("y", "x"): 1, ("y", "z"): 0, ("y", "g"): 0, ("y", "y"): 0},
        ),
    ],
)
def test_precedence(roles: dict, cells: dict) -> None:
    assert compiled(roles) == cells


@pytest.mark.parametrize(
    ("roles", "code", "text"),
    [
        ({"y": {"x": "randm"}}, "E25", "did you mean 'random'"),
        ({"y": {"x": 2}}, "E25", "predictor_matrix"),
        ({"y": {"x": "cluster+fixed"}}, "E25", "contradict"),
        ({"y": {"x": "selection+outcome"}}, "E25", "contradict"),
        ({"y": 3}, "E25", "role expression"),
        ({"yy": {"x": "fixed"}}, "E27", "'yy' not among the blocks"),
        ({"y": {"xx": "fixed"}}, "E27", "'xx' not in data"),
        ({"y": "x, xx"}, "E27", "'xx' not in data"),
    ],
)
def test_wrong_roles(roles: dict, code: str, text: str) -> None:
    with pytest.raises(JaxMiceError, match=text) as error:
        compiled(roles)
    assert error.value.code == code


def test_matrix_to_roles_and_back() -> None:
    codes = [[0, 0, 0, 0], [-2, 0, 4, 3], [-2, 1, 0, 2], [-3, -4, 5, 6]]
    matrix = pd.DataFrame(codes, index=COLUMNS, columns=COLUMNS)
    expressions = roles_of(matrix)
    assert "g" not in expressions
    back = np.zeros((4, 4), dtype=int)
    for (block, column), code in compiled(expressions).items():
        back[COLUMNS.index(block), COLUMNS.index(column)] = code
    assert (back == matrix.to_numpy()).all()
    assert eval(repr(expressions["y"]), {"role": role}) == expressions["y"]


def test_roles_beat_the_default_of_the_set_up(school: pd.DataFrame) -> None:
    model = setup(
        school,
        cluster="school",
        roles={"*": {"texp": "none"}, "popular": {"sex": "random"}},
    )
    row = model.predictor_matrix.loc["popular"]
    assert row.to_dict() == {
        "school": -2, "pupil": 0, "popular": 0, "sex": 2, "iq": 3, "texp": 0,
    }  # fmt: skip
    again = setup(school, cluster="school", roles=model.roles())
    pd.testing.assert_frame_equal(again.predictor_matrix, model.predictor_matrix)


def test_roles_lie_over_a_matrix(school: pd.DataFrame) -> None:
    model = setup(
        school,
        predictor_matrix={"popular": {"school": -2, "iq": 1, "sex": 1}},
        roles={"popular": {"sex": "mean"}},
        cluster="school",
    )
    row = model.predictor_matrix.loc["popular"]
    assert row[row != 0].to_dict() == {"school": -2, "sex": 3, "iq": 1}
