"""The case study of HIV, on a small file of the user's."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.cli import main
from jaxmice.tutorials import hiv
from jaxmice.tutorials._hiv_page import write_page
from jaxmice.tutorials.hiv import AT_RANDOM, CASES, SELECTION, TRUTH, Hiv
from tests.tutorials.page import check_own, check_page

SIMULATED = jm.datasets.make_hiv(n_j=80, smoke=0.8, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hiv")


@pytest.fixture(scope="module")
def result(folder: Path) -> Hiv:
    own = folder / "own.csv"
    SIMULATED.incomplete.assign(further=1.5).to_csv(own, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hiv, "DELTAS", (0.0, 1.5))  # a shorter grid is quicker
        return hiv.run(folder, m=3, seed=1, data=own)


def test_selection_finds_more_infected_than_imputation_at_random(result: Hiv) -> None:
    share = {name: table.loc["all", "estimate"] for name, table in result.prevalence.items()}
    data = SIMULATED.incomplete
    assert share[CASES] == pytest.approx(data["hiv"].mean())
    # Those without a result are infected more often by construction, some 25 points.
    assert share[SELECTION] > share[AT_RANDOM] + 0.01
    regions = result.prevalence[CASES].drop(index="all")["estimate"]
    np.testing.assert_allclose(regions, data.groupby("region")["hiv"].mean())
    for table in result.prevalence.values():
        assert (table["conf.low"] < table["estimate"]).all()
        assert (table["estimate"] < table["conf.high"]).all()


def test_shifts_start_at_random_and_grow(result: Hiv) -> None:
    shares = result.shifts["estimate"]
    assert shares.index[0] == 0
    assert (np.diff(shares) > 0).all()


def test_smoking_predicts_being_tested(result: Hiv) -> None:
    assert result.restriction.loc["being tested", "conf.low"] > 0
    assert np.isfinite(result.restriction.to_numpy()).all()


def test_page_of_own_data_claims_no_truth(result: Hiv, folder: Path) -> None:
    page = check_own(folder / "hiv.html", hiv.format_table(result), figures=6, rows=10)
    assert "complete data" not in page
    assert "read_data" in page


def test_page_of_simulated_data_shows_the_truth(result: Hiv) -> None:
    whole = SIMULATED.complete
    known = dataclasses.replace(
        result,
        complete=whole,
        prevalence={TRUTH: hiv.prevalences([whole])} | result.prevalence,
        estimates={TRUTH: result.estimates[CASES]} | result.estimates,
    )
    page = write_page(known)
    check_page(page, figures=6)
    assert "Dotted: the complete data" in page
    assert f"{whole['hiv'].mean():.1%}" in page
    assert "percentage points below the complete data" in hiv.findings(known)[AT_RANDOM]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.drop(columns=["smoke", "age"]), "has no column age, smoke; tutorial hiv"),
        (lambda d: d.assign(hiv=d["hiv"] + 1), "hiv must have the values 0, 1 and missing"),
        (lambda d: d.dropna(), "none missing"),
    ],
)
def test_files_that_will_not_do(change, text, tmp_path, capsys) -> None:
    change(pd.DataFrame(SIMULATED.incomplete)).to_csv(tmp_path / "d.csv", index=False)
    assert main(["tutorial", "hiv", "--data", str(tmp_path / "d.csv"), "--out", str(tmp_path)]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "hiv.html").exists()
