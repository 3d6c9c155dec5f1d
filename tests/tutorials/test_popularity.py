import base64
import re
from pathlib import Path

import numpy as np
import pytest

from jaxmice.tutorials import popularity
from jaxmice.tutorials.popularity import COMPLETE_DATA, STRATEGIES, TERMS, Popularity
from tests.tutorials.page import check_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial") / "new" / "folder"


@pytest.fixture(scope="module")
def result(folder: Path) -> Popularity:
    return popularity.run(folder, m=5, seed=1)


@pytest.fixture(scope="module")
def page(result: Popularity, folder: Path) -> str:
    return (folder / "popularity.html").read_text(encoding="utf-8")


def test_icc_falls_without_schools_and_stays_with_random_effects(result: Popularity) -> None:
    observed = result.icc["complete cases"]

    assert observed == pytest.approx(0.558, abs=5e-4)
    assert result.icc["pmm, no schools"] < 0.45
    for name in ("2l.norm", "2l.pan", "2l.pan, product"):
        assert result.icc[name] == pytest.approx(observed, abs=0.03)


def test_estimates_with_the_product_are_those_of_the_complete_data(result: Popularity) -> None:
    ours = result.estimates["2l.pan, product"].set_index("term").loc[list(TERMS)]
    complete = COMPLETE_DATA.set_index("term")

    se = (complete["conf.high"] - complete["conf.low"]) / (2 * 1.96)
    distance = (ours["estimate"] - complete["estimate"]) / se
    # Five imputations leave Monte Carlo error; one complete-data standard error is wide of it.
    assert np.abs(distance).max() < 1


def test_leaving_the_product_out_shrinks_the_interaction(result: Popularity) -> None:
    interaction = {
        name: table.set_index("term")["estimate"]["sex:texp"]
        for name, table in result.estimates.items()
    }

    assert abs(interaction["2l.pan"]) < abs(interaction["2l.pan, product"])


def test_table_and_findings_name_every_strategy(result: Popularity) -> None:
    table = popularity.format_table(result)

    assert max(len(line) for line in table.splitlines()) <= 100
    assert all(f"\n{name} " in table for name in ("complete data", *STRATEGIES))
    assert "3.314" in table
    found = popularity.findings(result)
    assert list(found) == list(STRATEGIES)
    assert "falls from 0.56" in found["pmm, no schools"]


def test_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    check_page(page, figures=10)


def test_figures_follow_a_dark_screen_and_fetch_nothing(page: str) -> None:
    pictures = [
        base64.b64decode(code).decode() for code in re.findall(r"svg\+xml;base64,([^\"]+)", page)
    ]

    assert len(pictures) == 10
    for svg in pictures:
        assert "prefers-color-scheme:dark" in svg
        assert "var(--c0)" in svg
        links = re.findall(r'href="([^"]*)"', svg)
        assert all(link.startswith(("#", "data:")) for link in links)


def test_page_says_which_method_has_which_variances(page: str) -> None:
    text = " ".join(re.sub(r"<[^>]+>", "", page).split())

    assert "2l.norm gives each school a residual variance of its own, 2l.pan has one" in text
