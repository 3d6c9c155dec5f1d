"""The same imputation model, data and analysis as in R: the same distributions."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm

HERE = Path(__file__).parent
M = {"pmm_ignored": 1000}
"""Imputations, where not 100: between imputations by pmm most of the variance lies, and with
100 of ours the Monte-Carlo error of its standard error alone is 6 %."""
COLUMNS = ["school", "popular", "sex", "texp"]
ANALYSIS = "popular ~ sex * texp + (1 + sex | school)"

KASIM = {"prior": "kr", "restart": True}
SCHAFER = {"prior": "pan", "restart": True}
CASES: dict[str, tuple[str, list[int], dict[str, Any]]] = {
    "2l.norm": ("2l.norm", [-2, 0, 2, 2], KASIM),
    "2l.pan": ("2l.pan", [-2, 0, 2, 1], SCHAFER),
    "2l.pan_a": ("2l.pan", [-2, 0, 2, 2], SCHAFER),
    "norm_ignored": ("norm", [0, 0, 1, 1], {}),
    "pmm_ignored": ("pmm", [0, 0, 1, 1], {"ties": "exact_k"}),
}

COMPONENTS = {
    "var_intercept": "Intercept~~Intercept|school",
    "var_sex": "sex~~sex|school",
    "cov": "Intercept~~sex|school",
    "var_residual": "Residual~~Residual",
}


@dataclass(frozen=True)
class Comparison:
    imp: jm.ImputedData
    ours: jm.PooledResults
    r: pd.DataFrame


# Two cases leave the clusters out of the imputation, which the analysis then warns of (W32).
pytestmark = [
    pytest.mark.filterwarnings("ignore:W00.*slope_weakly_identified"),
    pytest.mark.filterwarnings("ignore:W32"),
]


@cache
def compare(case: str) -> Comparison:
    method, codes, options = CASES[case]
    imp = jm.mice(
        jm.datasets.load_popmis()[COLUMNS],
        m=M.get(case, 100),
        method={"popular": method},
        predictor_matrix=pd.DataFrame([codes], index=["popular"], columns=COLUMNS),
        cluster="school" if codes[0] else None,
        # texp is constant in schools; R gives it a random slope all the same.
        levels={"texp": 1} if codes[0] else None,
        standardize=False,
        options={"popular": options},
        seed=1,
    )
    r = pd.read_csv(HERE / f"popmis_{case}_pooled.csv")
    return Comparison(imp, jm.pool(imp.analyze(ANALYSIS)), r)


@pytest.fixture(params=CASES)
def both(request: pytest.FixtureRequest) -> Comparison:
    return compare(request.param)


def test_reference_pooled_estimates_differ_by_monte_carlo_error_only(both: Comparison) -> None:
    b = both.r["b"].to_numpy()
    error = np.sqrt(b / both.r["m"].to_numpy() + np.diag(both.ours.between) / both.imp.m)
    z = (both.ours.params.to_numpy() - both.r["est"].to_numpy()) / error
    assert np.abs(z).max() < 3


def test_reference_pooled_standard_errors(both: Comparison) -> None:
    ratio = both.ours.bse.to_numpy() / np.sqrt(both.r["t"].to_numpy())
    assert (np.abs(ratio - 1) < 0.05).all()


def test_reference_variance_components_of_the_analysis(both: Comparison) -> None:
    ours: Any = both.ours.extra.set_index("term")["estimate"]
    for name, term in COMPONENTS.items():
        expected: Any = both.r[name].iloc[0]
        if name == "cov":
            assert abs(ours[term] - expected) < 0.02
        else:
            assert ours[term] == pytest.approx(expected, rel=0.05), name


def test_reference_intraclass_correlation_of_the_completed_outcome(both: Comparison) -> None:
    pooled = jm.pool(both.imp.analyze("popular ~ 1 + (1 | school)"))
    icc = pooled.extra.set_index("term").loc["ICC|school", "estimate"]
    error = both.r["icc_sd_over_imputations"].iloc[0] * np.sqrt(2 / 100)
    assert abs(icc - both.r["icc"].iloc[0]) < 3 * error


@pytest.mark.parametrize("case", ["2l.norm", "2l.pan"])
def test_reference_distribution_of_every_imputed_cell(case: str) -> None:
    r = pd.read_csv(HERE / f"popmis_{case}_cells.csv")
    draws = compare(case).imp.imp["popular"]
    assert (draws.index.to_numpy() + 1 == r["row"].to_numpy()).all()
    mean, deviation = draws.mean(axis=1).to_numpy(), draws.std(axis=1).to_numpy()
    assert abs(np.mean(mean - r["mean"])) < 0.02
    # Of two runs of R with m = 100 the cell means correlate by 0.9951.
    assert np.corrcoef(mean, r["mean"])[0, 1] > 0.995
    assert np.mean(deviation / r["sd"]) == pytest.approx(1, abs=0.03)
