"""Cells that follow from observed ones."""

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore:W")


def people() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "g": list("aaabbbcc"),
            "w": [4, 4, 7, 2, None, 2, None, None],
            "kind": pd.Categorical(["x", "y", "x", None, "y", "y", "x", "x"]),
            "weight": [80.0, None, 60.0, 50.0, 90.0, 70.0, None, 80.0],
            "height": [2.0, 1.0, 2.0, 1.0, 3.0, None, None, 2.0],
            "bmi": [None, 25.0, 15.0, 50.0, None, 70.0, 30.0, 20.0],
        },
        index=list("hgfedcba"),
    )


def test_rules_fill_what_is_known_and_in_their_order() -> None:
    data = people()
    rules = [("bmi", "weight / height**2"), ("weight", "bmi * height**2")]
    done, table = jm.impute_deductive(data, "g", rules, levels={"w": 1})
    assert done["bmi"].tolist() == [20, 25, 15, 50, 10, 70, 30, 20]
    np.testing.assert_array_equal(done["weight"], [80, 25, 60, 50, 90, 70, np.nan, 80])
    assert table.loc["weight"].tolist() == [0, 1, 1, 0]
    assert table.loc["w"].tolist() == [0, 0, 3, 1]
    pd.testing.assert_frame_equal(data, people())
    pd.testing.assert_index_equal(done.index, data.index)


def test_level_two_columns_are_completed_and_repaired() -> None:
    data, levels = people(), {"w": 2, "kind": 2}
    with pytest.raises(DataError, match=r"E14.*'w' declared level 2 but varies"):
        jm.impute_deductive(data, "g", levels=levels)
    done, table = jm.impute_deductive(data, "g", levels=levels, repair="majority")
    np.testing.assert_array_equal(done["w"], [4, 4, 4, 2, 2, 2, np.nan, np.nan])
    assert done["kind"].tolist() == ["x"] * 3 + ["y"] * 3 + ["x"] * 2
    assert done["kind"].dtype == data["kind"].dtype
    assert table.loc["w"].tolist() == [1, 1, 2, 1]
    done, _ = jm.impute_deductive(data, "g", levels={"w": 2}, repair="mean")
    np.testing.assert_array_equal(done["w"], [5, 5, 5, 2, 2, 2, np.nan, np.nan])
    with pytest.raises(DataError, match=r"E14.*'kind' has no mean"):
        jm.impute_deductive(data, "g", levels=levels, repair="mean")
    with pytest.raises(ModelError, match=r"E51.*'majority'"):
        jm.impute_deductive(data, "g", repair="majorty")
