"""Pooling of real fits against R's mice and mitml, and the tests D1 to D4 from end to end."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.analysis import analyze
from jaxmice.pooling import Estimates, anova, compare_models, constraint_test, pool

REFERENCE = Path(__file__).parents[1] / "reference"
R = json.loads((REFERENCE / "pooling.json").read_text())
COLUMNS = ["F.value", "df1", "df2", "p.value", "riv"]


def fits(case: dict[str, Any]) -> list[Estimates]:
    """Return the fits of lme4, by the names of the terms."""
    terms = tuple(case["terms"])
    return [
        Estimates(terms, np.array(params), np.array(cov))
        for params, cov in zip(case["params"], case["cov"], strict=True)
    ]


def close(found: pd.DataFrame, wanted: dict[str, float], rtol: float) -> None:
    values = found[COLUMNS].to_numpy()[0]
    np.testing.assert_allclose(values[:3], list(wanted.values())[:3], rtol=rtol)
    np.testing.assert_allclose(values[3], wanted["P(>F)"], rtol=100 * rtol)
    np.testing.assert_allclose(values[4], wanted["RIV"], rtol=10 * rtol)


@pytest.mark.parametrize("name", R)
def test_pooled_fits_of_lme4_agree_with_mice(name: str) -> None:
    case = R[name]
    table = pool(fits(case), dfcom=case["dfcom"]).summary(type="all")
    renamed = {"2.5 %": "conf.low", "97.5 %": "conf.high"}
    for column, wanted in case["mice"].items():
        if column != "term":
            found = table[renamed.get(column, column)]
            np.testing.assert_allclose(found, wanted, rtol=1e-6, err_msg=column)


@pytest.mark.parametrize("name", R)
def test_pooled_fits_of_lme4_agree_with_mitml(name: str) -> None:
    case = R[name]
    table = pool(fits(case), dfcom="inf").summary(type="all")
    names = {"Estimate": "estimate", "Std.Error": "std.error", "t.value": "statistic"}
    names |= {"df": "df", "RIV": "riv", "FMI": "fmi"}
    for theirs, ours in names.items():
        wanted = [row[theirs] for row in case["mitml"]]
        np.testing.assert_allclose(table[ours], wanted, rtol=1e-6, err_msg=ours)


@pytest.mark.parametrize("name", R)
def test_wald_tests_of_lme4_agree_with_mitml(name: str) -> None:
    case = R[name]
    tested = [t for t in case["terms"] if t not in case["null"] or ":" in t]
    tested = [t for t in tested if t != "(Intercept)"]
    close(compare_models(fits(case), tested), case["tests"]["D1"], 1e-6)
    close(compare_models(fits(case), tested, dfcom=200), case["tests"]["D1_df"], 1e-6)
    close(compare_models(fits(case), tested, method="D2"), case["tests"]["D2_wald"], 1e-6)


@pytest.mark.parametrize("name", R)
@pytest.mark.parametrize("method", ["D1", "D2"])
def test_nonlinear_constraints_agree_with_mitml(name: str, method: str) -> None:
    case = R[name]["constraint"]
    # mitml differentiates numerically.
    close(constraint_test(fits(R[name]), case["text"], method), case[method], 1e-5)


class Completed:
    """The five imputations made in R, for `analyze`."""

    m = 5

    def __init__(self) -> None:
        data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
        rows = np.flatnonzero(data["popular"].isna())
        cells = pd.read_csv(REFERENCE / "pooling_popmis_cells.csv", index_col=0)
        cells.columns = pd.Index(range(1, 6))
        assert (cells.index == rows + 1).all()
        self.data, self.imp = data, {"popular": cells}
        self.where = data.isna()
        clusters = SimpleNamespace(names=("school",))
        frame = SimpleNamespace(clusters=clusters)
        self.model = SimpleNamespace(frame=frame, cluster="school", visits=())

    def complete(self, number: int) -> pd.DataFrame:
        out = self.data.copy()
        if number:
            out.loc[self.where["popular"], "popular"] = self.imp["popular"][number].to_numpy()
        return out


@pytest.fixture(scope="module")
def imp() -> Completed:
    return Completed()


@pytest.fixture(scope="module")
def full(imp: Completed) -> Any:
    return analyze(imp, R["popmis"]["full"])


@pytest.fixture(scope="module")
def null(imp: Completed) -> Any:
    return analyze(imp, R["popmis"]["null"])


def test_built_in_mixed_model_agrees_with_lme4(full: Any) -> None:
    case = R["popmis"]
    np.testing.assert_allclose(full.stack.params, case["params"], rtol=1e-4)
    np.testing.assert_allclose(full.loglik, case["reml_loglik"], atol=1e-5)
    table = full.pool(dfcom=case["dfcom"]).summary(type="all")
    for column in ("estimate", "std.error", "riv", "fmi", "df"):
        np.testing.assert_allclose(table[column], case["mice"][column], rtol=1e-4, err_msg=column)
    extra = full.pool().extra
    assert extra["term"].tolist() == list(case["extra"])
    np.testing.assert_allclose(extra["estimate"], list(case["extra"].values()), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("D1", {}),
        ("D2_wald", {"method": "D2"}),
        ("D2_likelihood", {"method": "D2", "use": "likelihood"}),
        ("D3", {"method": "D3"}),
        ("D4", {"method": "D4"}),
        ("D4_robust", {"method": "D4", "ariv": "robust"}),
    ],
)
def test_comparison_of_mixed_models_agrees_with_mitml(
    full: Any, null: Any, name: str, options: dict[str, str]
) -> None:
    # The optimisers of lme4 and ours stop within 1e-6 of the deviance of each other.
    close(compare_models(full, null, **options), R["popmis"]["tests"][name], 1e-5)


def test_anova_orders_models_and_takes_the_stacked_likelihood(full: Any, null: Any) -> None:
    table = anova(full, null)
    assert table.loc[0, ["full", "null", "method"]].tolist() == [
        R["popmis"]["full"],
        R["popmis"]["null"],
        "D4",
    ]
    close(table, R["popmis"]["tests"]["D4"], 1e-5)
    bare = anova(full.stack, null.stack, method="D1")
    close(bare, R["popmis"]["tests"]["D1"], 1e-5)


def test_explained_variance_agrees_with_mitml(full: Any) -> None:
    found = jm.multilevel_r2(full).set_index("measure")["estimate"]
    wanted = R["popmis"]["r2"]
    names = {"RB1": "RB1", "RB2": "RB2", "SB": "SB", "marginal": "MVP"}
    for ours, theirs in names.items():
        np.testing.assert_allclose(found[ours], wanted[theirs], rtol=1e-4, err_msg=ours)


def test_functions_are_compared_by_their_likelihood(imp: Completed) -> None:
    ours = [analyze(imp, f"popular ~ {right}") for right in ("sex * texp", "sex")]
    sm = pytest.importorskip("statsmodels.api")

    def gaussian(columns: list[str]) -> Any:
        def fit(d: pd.DataFrame) -> Any:
            x = sm.add_constant(d.assign(product=d["sex"] * d["texp"])[columns])
            return sm.MixedLM(d["popular"], x, d["school"]).fit(reml=False)

        return fit

    for method in ("D2", "D3", "D4"):
        table = compare_models(*ours, method=method, use="likelihood")
        assert table["df1"].tolist() == [2]
    # The two ways to the likelihood of one mixed model.
    pair = [analyze(imp, gaussian(c)) for c in (["sex", "texp", "product"], ["sex"])]
    for method in ("D3", "D4"):
        close(compare_models(*pair, method=method), R["popmis"]["tests"][method], 1e-4)
