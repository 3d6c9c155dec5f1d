"""Blocks, visits, and which cells and rows take part."""

import numpy as np
import pandas as pd
import pytest
from model_data import make_school

from jaxmice.model import (
    Term,
    make_blocks,
    make_visit_sequence,
    make_where,
    setup,
)

I = Term(None)  # noqa: E741


def test_partitions(plain) -> None:
    assert make_blocks(plain) == {name: (name,) for name in plain}
    assert make_blocks(plain, "collect") == {"collect": ("x", "y", "z", "c")}
    assert make_blocks(plain, "void") == {}


def test_members_of_a_block_predict_each_other(plain) -> None:
    model = setup(plain, {"pair": "norm"}, blocks={"pair": ["y", "z"]})
    first, second = model.visits
    assert (first.block, first.targets, second.targets) == ("pair", ("y",), ("z",))
    assert first.fixed == (I, Term("x"), Term("z"), Term("c", 1), Term("c", 2))
    assert second.fixed == (I, Term("x"), Term("y"), Term("c", 1), Term("c", 2))
    assert model.predictor_matrix.loc["pair"].tolist() == [1, 1, 1, 1]
    assert "pair/y" in str(model)


def test_columns_in_no_block_are_not_imputed(plain) -> None:
    model = setup(plain, blocks=["y"], roles={"y": {"z": "none"}})
    assert model.method == {"y": "pmm"}
    assert model.where.sum(axis=0).tolist() == [0, 40, 0, 0]


def test_a_column_in_several_blocks_is_imputed_several_times(plain) -> None:
    model = setup(
        plain,
        {"first": "norm", "last": "sample"},
        blocks={"first": "y", "mid": "z", "last": ["y"]},
        predictor_matrix={"first": {"x": 1}},
    )
    assert [(v.block, *v.targets) for v in model.visits] == [
        ("first", "y"), ("mid", "z"), ("last", "y"),
    ]  # fmt: skip
    assert model.visits[0].fixed == (I, Term("x"))
    assert model.visits[2].fixed == (I,)


def test_unnamed_blocks(plain) -> None:
    model = setup(plain, blocks=["x", ["y", "z"], ("c",)])
    assert model.blocks == {"x": ("x",), "B1": ("y", "z"), "c": ("c",)}
    assert model.method == {"x": "", "B1": "pmm", "c": ""}


@pytest.mark.parametrize(
    ("sequence", "order"),
    [
        ("roman", ["y", "z"]),
        ("arabic", ["z", "y"]),
        ("monotone", ["z", "y"]),
        ("revmonotone", ["y", "z"]),
        (["z", "y", "z"], ["z", "y", "z"]),
        (["z", "x"], ["z"]),
    ],
)
def test_visit_sequence(plain, sequence, order) -> None:
    model = setup(plain, "norm", visit_sequence=sequence, roles={"z": "x"})
    assert list(model.visit_sequence) == order
    assert [visit.targets[0] for visit in model.visits] == order
    assert make_visit_sequence(plain, sequence) == tuple(order)


def test_repeated_visits_are_counted(plain) -> None:
    model = setup(plain, "norm", visit_sequence=["z", "y", "z", "y", "z"])
    assert [visit.number for visit in model.visits] == [0, 0, 1, 1, 2]


def test_level_1_first() -> None:
    data = make_school()[["school", "texp", "popular", "iq"]]
    data.loc[data["school"] == "s01", "texp"] = np.nan
    model = setup(data, {"texp": "fake.level2"}, cluster="school", visit_sequence="level")
    assert model.visit_sequence == ("popular", "texp")
    assert model.levels == {"school": 0, "texp": 2, "popular": 1, "iq": 1}


@pytest.mark.parametrize(
    ("keyword", "cells"), [("missing", [0, 40]), ("observed", [200, 160]), ("none", [0, 0])]
)
def test_where_keywords(plain, keyword, cells) -> None:
    assert make_where(plain, keyword)[["x", "y"]].sum().tolist() == cells
    model = setup(plain, "sample", where=keyword)
    assert model.where[:, :2].sum(axis=0).tolist() == cells
    assert bool(model.method["x"]) == bool(cells[0])


def test_where_of_observed_cells_gives_complete_columns_a_method(school) -> None:
    where = school.isna()
    where.loc[5, "iq"] = True
    model = setup(school, "2l.pan", where=where, cluster="school")
    assert model.method["iq"] == "2l.pan"
    assert model.where[:, 4].sum() == 1
    reordered = setup(school, "2l.pan", where=where[where.columns[::-1]], cluster="school")
    assert (reordered.where == model.where).all()
    assert setup(school, "2l.pan", where=where.to_numpy(), cluster="school").where[5, 4]


def test_rows_without_a_cluster_take_no_part(school) -> None:
    school["school"] = school["school"].astype(object)
    school.loc[:3, "school"] = None
    model = setup(school, "2l.pan", cluster="school", missing_cluster="drop")
    assert model.ignore[:4].all()
    assert not model.ignore[4:].any()
    assert not model.where[:4].any()


def test_printed_model(school) -> None:
    model = setup(school, "2l.pan", roles={"popular": {"sex": "random+mean"}}, cluster="school")
    lines = str(model).splitlines()
    assert lines[0] == "Imputation model: 360 rows, 30 clusters, 1 targets"
    assert lines[1].split() == ["target", "method", "cluster", "random", "fixed", "means"]
    assert lines[2].replace(",", "").split() == [
        "popular", "2l.pan", "school", "1", "sex", "iq", "texp", "sex", "iq",
    ]  # fmt: skip


def test_data_are_not_modified(school) -> None:
    school.loc[:3, "texp"] = np.nan
    kept = school.copy()
    setup(school, cluster="school")
    pd.testing.assert_frame_equal(school, kept)


def test_a_matrix_over_the_columns_may_be_an_array(plain) -> None:
    codes = np.zeros((4, 4))
    codes[1, [0, 1]] = 1
    model = setup(plain, "norm", codes)
    assert model.predictor_matrix.loc["y"].tolist() == [1, 0, 0, 0]
    assert model.predictor_matrix.loc["z"].tolist() == [0, 0, 0, 0]
