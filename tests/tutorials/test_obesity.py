"""The case study of obesity, on a small file of the user's."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import jaxmice as jm
from jaxmice.cli import main
from jaxmice.tutorials import obesity
from jaxmice.tutorials._obesity_page import write_page
from jaxmice.tutorials.obesity import AT_RANDOM, CASES, SELECTION, TRUTH, Obesity
from tests.tutorials.page import check_own, check_page

# Three imputations are few where most weights are missing, and quick.
pytestmark = pytest.mark.filterwarnings("ignore:W33")

SIMULATED = jm.datasets.make_obesity(n_j=100, time=-0.4, seed=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("obesity")


@pytest.fixture(scope="module")
def result(folder: Path) -> Obesity:
    own = folder / "own.csv"
    SIMULATED.incomplete.to_csv(own, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obesity, "DELTAS", (0.0, 20.0))  # a shorter grid is quicker
        return obesity.run(folder, m=3, seed=1, data=own)


def test_bmi_follows_from_height_and_weight(result: Obesity) -> None:
    for imp in result.imputations.values():
        for filled in imp.complete("all").values():
            assert filled.notna().all(axis=None)
            expected = filled["Weight"] / filled["Height"] ** 2
            np.testing.assert_allclose(filled["BMI"], expected, rtol=1e-6)


def test_selection_finds_heavier_people_than_imputation_at_random(result: Obesity) -> None:
    mean = {name: table.loc["asked", "estimate"] for name, table in result.means.items()}
    assert mean[CASES] == pytest.approx(SIMULATED.incomplete["BMI"].mean())
    # Those without a weight are heavier by construction, by some 4 kg/m².
    assert mean[SELECTION] > mean[AT_RANDOM] + 0.3
    assert 3 in result.means[SELECTION].index
    assert 3 not in result.means[CASES].index
    assert "all" not in result.means[CASES].index


def test_shifts_move_the_mean_by_the_share_that_is_missing(result: Obesity) -> None:
    found = result.shifts["estimate"]
    asked = SIMULATED.complete["Cluster"] != 3
    lost = SIMULATED.incomplete["Weight"].isna()[asked].mean()
    heights = SIMULATED.complete["Height"].mean()
    # Heights of those without a weight are a little off the mean.
    assert found[20] - found[0] == pytest.approx(20 * lost / heights**2, rel=0.1)
    assert result.restriction.iloc[0]["conf.high"] < 0


def test_page_of_own_data_claims_no_truth(result: Obesity, folder: Path) -> None:
    page = check_own(folder / "obesity.html", obesity.format_table(result), figures=8, rows=7)
    assert "Dotted: the complete data" not in page
    assert "~ Weight / Height**2" in page


def test_page_of_simulated_data_shows_the_truth(result: Obesity) -> None:
    means = result.means[SELECTION]
    known = dataclasses.replace(
        result,
        complete=SIMULATED.complete,
        means={TRUTH: means + 1} | result.means,
        estimates={TRUTH: result.estimates[CASES]} | result.estimates,
    )
    page = write_page(known)
    check_page(page, figures=8)
    assert "Dotted: the complete data" in page
    assert "1.0 kg/m² below the complete data" in obesity.findings(known)[SELECTION]


def test_a_file_in_which_all_gave_their_weight(tmp_path: Path, capsys) -> None:
    SIMULATED.complete.to_csv(tmp_path / "d.csv", index=False)
    argv = ["tutorial", "obesity", "--data", str(tmp_path / "d.csv"), "--out", str(tmp_path)]
    assert main(argv) == 1
    assert "Weight needs both missing and observed values" in capsys.readouterr().err
