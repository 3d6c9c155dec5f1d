import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from jaxmice.datasets import make_impact
from jaxmice.errors import DataError
from jaxmice.tutorials import TUTORIALS, impact
from jaxmice.tutorials._common import interval, read_own
from jaxmice.tutorials._impact_page import write_page


def test_a_text_file_gets_the_kinds_and_the_order_of_the_categories(tmp_path: Path) -> None:
    made = make_impact(n_j=30, seed=1).incomplete
    path = tmp_path / "own.csv"
    made.assign(more=1).to_csv(path, index=False)

    read = impact.order_levels(read_own("impact", path))

    assert list(read) == list(TUTORIALS["impact"].columns)
    assert (read["pupil"] == "None").any()
    pd.testing.assert_frame_equal(read, made, check_dtype=False)
    for name in ("type", "motor_score", "pupil", "ct"):
        assert read[name].dtype == made[name].dtype


def test_other_categories_are_named() -> None:
    data = make_impact(n_j=30, seed=1).incomplete
    data["ct"] = data["ct"].cat.rename_categories({"III": "3"})
    with pytest.raises(DataError, match=r"E35: column ct has the value '3'.*I/II, III, IV/V"):
        impact.order_levels(data)


def test_page_compares_with_the_complete_data_where_they_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Fewer columns and iterations: what is drawn is tested with the methods.
    monkeypatch.setattr(impact, "FORMULA", "mort ~ age + ct + tsah + (1 | name)")
    monkeypatch.setattr(impact, "ITERATIONS", 2)
    columns = ["name", "age", "ct", "tsah", "mort"]
    made = make_impact(n_j=40, seed=1)

    result = impact.compare(made.incomplete[columns], made.complete[columns], m=2, seed=1)

    assert set(result.imp.method.items()) >= {("ct", "2l.ordinal"), ("tsah", "2l.bin")}
    own = {name: of for name, of in result.results.items() if name != "complete data"}
    for case in (result, replace(result, results=own)):
        known = case is result
        text = " ".join(re.sub(r"<[^>]+>", " ", write_page(case)).split())
        values = [impact.estimates(of).loc["between studies"] for of in case.results.values()]
        shown = " ".join(" ".join(interval(*value)) for value in values)
        assert f"variance between studies {shown}" in text
        assert ("against" in impact.findings(case)["imputed"]) == known
        assert ("made on purpose" in text) == known
        assert ("complete data" in impact.format_table(case)) == known
