"""Formulas, the built-in mixed model on data frames, and analyses of imputed data."""

import pickle
import warnings
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.analysis import Analyses, analyze, lmm
from jaxmice.analysis.formula import parse_formula
from jaxmice.errors import AnalysisError, JaxMiceWarning, PoolError
from jaxmice.pooling import pool
from tests.frames import two_level

FORMULA = "popular ~ sex * texp + (1 + sex | school)"


class Imputed:
    """The part of imputed data that an analysis uses."""

    def __init__(self, data: pd.DataFrame, cells: dict[str, Any], m: int) -> None:
        self.data, self.m = data, m
        self.where = data.isna() & np.isin(data.columns, list(cells))
        self.imp = {
            name: pd.DataFrame(values, index=data.index[data[name].isna()], columns=range(1, m + 1))
            for name, values in cells.items()
        }

    def complete(self, i: int) -> pd.DataFrame:
        out = self.data.copy()
        for name, values in self.imp.items() if i else ():
            out.loc[self.where[name], name] = values[i]
        return out


@pytest.fixture(scope="module")
def popmis() -> pd.DataFrame:
    with (resources.files("jaxmice.datasets") / "popmis.csv").open() as file:
        return pd.read_csv(file)[["school", "popular", "sex", "texp"]]


@pytest.fixture(scope="module")
def imputed(popmis: pd.DataFrame) -> Imputed:
    rng = np.random.default_rng(1)
    k = int(popmis["popular"].isna().sum())
    return Imputed(popmis, {"popular": rng.normal(5, 1, size=(k, 3))}, 3)


@pytest.mark.parametrize(
    ("text", "fixed", "random"),
    [
        ("y ~ x + (1 | g)", "x", "1"),
        ("y ~ (1 | g) + x", "x", "1"),
        ("y ~ (1 | g)", "1", "1"),
        ("y ~ a + (0 + b|g) + log(c + (d))", "a + log(c + (d))", "0 + b"),
        ("y ~ `a|b` + (1 + `c d` | g)", "`a|b`", "1 + `c d`"),
        ("y ~ x + (1 | g) - 1", "x - 1", "1"),
        ("y ~ `x (1 | a/b)` + (1 | g)", "`x (1 | a/b)`", "1"),
        ("y ~ a * b", "a * b", ""),
    ],
)
def test_formula(text: str, fixed: str, random: str) -> None:
    found = parse_formula(text)
    assert (found.outcome, found.fixed, found.random) == ("y", fixed, random)
    assert found.cluster == ("g" if random else "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y ~ x + (1 | g) + (1 | h)", "2 random parts"),
        ("y ~ x + (1 + x || g)", r"\|\|"),
        ("y ~ x + (1 | g/h)", "mixedlm\\('y ~ x', data, groups='g', re_formula='1'"),
        ("y ~ (1 | g/h) + x", "mixedlm\\('y ~ x', data, groups='g', re_formula='1'"),
        ("y ~ x + (1 + x | g/h)", "must be one column"),
        ("y ~ x + (1 | g:h)", "must be one column"),
        ("y ~ x + 1 | g", "brackets"),
        ("y ~ x * (1 | g)", r"'\+'"),
        ("x + (1 | g)", "needs the form"),
        ("y ~ x + ( | g)", "nothing left"),
    ],
)
def test_formula_complaints(text: str, message: str) -> None:
    with pytest.raises(AnalysisError, match=rf"E58.*{message}"):
        parse_formula(text)


def test_lmm_on_complete_rows(popmis: pd.DataFrame) -> None:
    fit = lmm(FORMULA, popmis)
    # lme4 1.1.31.
    wanted = [3.322026734, 1.326341995, 0.1104128166, -0.03300743893]
    np.testing.assert_allclose(fit.params, wanted, rtol=1e-4)
    assert list(fit.params.index) == ["Intercept", "sex", "texp", "sex:texp"]
    assert (fit.nobs, fit.n_clusters, fit.dropped, fit.df_resid) == (1152, 100, 848, 1148)
    assert "848 rows" in repr(fit)
    np.testing.assert_allclose(fit.icc, 0.4043283758 / (0.4043283758 + 0.4050387), rtol=1e-3)
    assert fit.extra["std.error"].notna().all()
    assert fit.stack.between.tolist() == [True, False, True, False]


def test_lmm_with_text(popmis: pd.DataFrame) -> None:
    text = popmis.assign(sex=np.where(popmis["sex"] == 1, "girl", "boy"))
    fit = lmm("popular ~ sex * texp + (1 + sex | school)", text)
    assert list(fit.params.index) == ["Intercept", "sex[T.girl]", "texp", "sex[T.girl]:texp"]
    np.testing.assert_allclose(fit.loglik, -1294.491697, atol=1e-4)


def test_lmm_complaints(popmis: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match=r"E58.*do not have: age"):
        lmm("popular ~ age + (1 | school)", popmis)
    with pytest.raises(AnalysisError, match=r"E58.*calls mean\(\).*imp.assign"):
        lmm("popular ~ mean(sex) + (1 | school)", popmis)
    with pytest.raises(AnalysisError, match="no random part"):
        lmm("popular ~ sex", popmis)
    with pytest.raises(AnalysisError, match=r"E63.*texp2"):
        lmm("popular ~ texp + texp2 + (1 | school)", popmis.assign(texp2=popmis["texp"] * 2))
    with pytest.raises(AnalysisError, match="not finite"):
        lmm("popular ~ log(sex) + (1 | school)", popmis)


def test_all_imputations_at_once(imputed: Imputed) -> None:
    found = analyze(imputed, FORMULA)
    for i in (1, 3):
        alone = lmm(FORMULA, imputed.complete(i))
        np.testing.assert_allclose(found.stack.params[i - 1], alone.params, rtol=1e-6)
        np.testing.assert_allclose(found.vcov[i - 1], alone.cov, rtol=1e-4)
    assert found.terms == ("Intercept", "sex", "texp", "sex:texp")
    assert found.vcov.shape == (3, 4, 4)
    assert list(found.estimates) == ["imputation", "term", "estimate", "std.error"]
    assert len(found.extra) == 15
    pooled = found.pool()
    np.testing.assert_allclose(pooled.params, found.stack.params.mean(axis=0))
    np.testing.assert_allclose(
        pooled.extra["estimate"], found.extra.groupby("term", sort=False)["estimate"].mean()
    )
    assert "3 analyses" in repr(found)


def test_imputed_predictors(imputed: Imputed, popmis: pd.DataFrame) -> None:
    holes = popmis.copy()
    holes["sex"] = np.where(holes["sex"] == 1, "girl", "boy")
    rng = np.random.default_rng(5)
    holes.loc[rng.random(2000) < 0.2, "texp"] = np.nan
    holes.loc[rng.random(2000) < 0.2, "sex"] = None
    k, s = int(holes["texp"].isna().sum()), int(holes["sex"].isna().sum())
    cells = {
        "popular": imputed.imp["popular"].to_numpy(),
        "texp": rng.integers(2, 25, size=(k, 3)).astype(float),
        "sex": rng.choice(["boy", "girl"], size=(s, 3)),
    }
    imp = Imputed(holes, cells, 3)
    found = analyze(imp, "popular ~ sex * texp + (1 | school)")
    alone = lmm("popular ~ sex * texp + (1 | school)", imp.complete(2))
    np.testing.assert_allclose(found.stack.params[1], alone.params, rtol=1e-5)


def test_rows_that_stay_missing_are_left_out(imputed: Imputed) -> None:
    data = imputed.data.copy()
    data.loc[data.index[:30], "texp"] = np.nan
    imp = Imputed(data, {"popular": imputed.imp["popular"].to_numpy()}, 3)
    assert analyze(imp, "popular ~ texp + (1 | school)").nobs.tolist() == [1970] * 3


def test_function_and_ols(imputed: Imputed) -> None:
    sm = pytest.importorskip("statsmodels.formula.api")

    def model(d: pd.DataFrame) -> Any:
        return sm.ols("popular ~ sex", d).fit()

    by_function = analyze(imputed, model, keep="fits")
    by_formula = analyze(imputed, "popular ~ sex")
    np.testing.assert_allclose(by_function.stack.params, by_formula.stack.params)
    np.testing.assert_allclose(by_function.vcov, by_formula.vcov)
    assert by_function.df_resid.tolist() == [1998] * 3
    again = Analyses.from_list(by_function.fits)
    np.testing.assert_allclose(pool(again).params, pool(list(by_function.fits)).params)


def test_mixed_model_of_statsmodels(imputed: Imputed) -> None:
    sm = pytest.importorskip("statsmodels.formula.api")

    def model(d: pd.DataFrame) -> Any:
        return sm.mixedlm("popular ~ sex", d, groups=d["school"]).fit()

    theirs = analyze(imputed, model)
    ours = analyze(imputed, "popular ~ sex + (1 | school)")
    assert theirs.terms == ours.terms
    np.testing.assert_allclose(theirs.stack.params, ours.stack.params, rtol=1e-3)
    np.testing.assert_allclose(
        theirs.stack.components.values, ours.stack.components.values, rtol=2e-2, atol=1e-3
    )


def test_failures_are_collected(imputed: Imputed) -> None:
    calls = iter(range(1, 100))

    def model(d: pd.DataFrame) -> Any:
        if next(calls) % 3 == 2:
            raise ZeroDivisionError("no luck")
        return np.array([d["popular"].mean()]), np.array([[0.1]])

    with pytest.raises(AnalysisError, match=r"E41.*imputations \[2\].*ZeroDivisionError: no luck"):
        analyze(imputed, model)
    with pytest.warns(JaxMiceWarning, match="W24"):
        kept = analyze(imputed, model, on_error="drop")
    assert kept.numbers == (1, 3)


def test_terms_that_differ(imputed: Imputed) -> None:
    names = iter(["a", "a", "b"] * 2)

    def model(d: pd.DataFrame) -> Any:
        return pd.Series([1.0, 2.0], index=["x", next(names)]), np.eye(2)

    with pytest.raises(AnalysisError, match=r"E42.*'a' missing in imputations \[3\]"):
        analyze(imputed, model)
    assert analyze(imputed, model, terms="intersection").terms == ("x",)


def test_fits_that_do_not_converge(imputed: Imputed) -> None:
    from jaxmice.pooling import Estimates

    def model(d: pd.DataFrame) -> Any:
        return Estimates(("x",), np.ones(1), np.eye(1), converged=False)

    with pytest.warns(JaxMiceWarning, match=r"W25.*\[1, 2, 3\]"):
        analyze(imputed, model)


def test_arguments(imputed: Imputed) -> None:
    with pytest.raises(AnalysisError, match=r"E59.*engine"):
        analyze(imputed, FORMULA, engine="glm")
    with pytest.raises(AnalysisError, match="does not fit engine 'lmm'"):
        analyze(imputed, "popular ~ sex", engine="lmm")
    with pytest.raises(AnalysisError, match=r"E41.*E60"):
        analyze(imputed, lambda d: 3)


@pytest.mark.filterwarnings("ignore:W14", "ignore:W00")
def test_a_slope_that_varies_in_the_analysis_only_is_told() -> None:
    data = two_level(("y", "x"))
    text = "y ~ x + w + (1 + x + w | g)"

    def complaints(analysis: str, **options: Any) -> list[str]:
        imp = jm.mice(data, m=2, maxit=1, seed=1, **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            analyze(imp, analysis)
        messages = [str(one.message) for one in caught]
        return [message for message in messages if message.startswith("W32")]

    call: dict[str, Any] = {"cluster": "g", "method": {"x": "norm", "y": "2l.pan"}}
    slope = {"roles": {"y": {"x": "random"}}}
    (message,) = complaints(text, **call, **slope)
    assert "'y' was imputed without a random slope of 'w', which the analysis has" in message
    assert complaints("y ~ x + w + (1 + x | g)", **call, **slope) == []
    assert complaints("y ~ x + (1 | g)", **call) == []
    # Of the clusters that the analysis has; nothing is said of a complete outcome.
    assert len(complaints(text, method="norm")) == 1
    assert complaints("z ~ w + (1 + w | g)", **call) == []


def test_models_that_differ_in_their_random_part_only(imputed: Imputed) -> None:
    """The dataclasses have equal terms, so nothing may compare them."""
    small = analyze(imputed, "popular ~ sex + (1 | school)", reml=False)
    large = analyze(imputed, "popular ~ sex + (1 + sex | school)", reml=False)
    table = jm.anova(large, small, method="D3")
    assert table.loc[0, ["full", "null"]].tolist() == [large.model, small.model]
    assert table.loc[0, "df1"] == 2


@pytest.mark.parametrize("random", ["", " + (1 | school)"])
def test_predictions_for_what_the_fit_has_not_seen_are_refused(
    imputed: Imputed, random: str
) -> None:
    data = imputed.data.assign(who=np.where(imputed.data["sex"] > 0, "girl", "boy"))
    text = Imputed(data, {}, 2)
    fit = analyze(text, f"popular ~ who{random}").pool(dfcom="inf")
    known = fit.predict(pd.DataFrame({"who": ["boy", "girl"]}))["estimate"]
    np.testing.assert_allclose(np.diff(known), fit.params.iloc[1])
    with pytest.raises(PoolError, match=r"E65.*unknown categories \{'boi'\}"):
        fit.predict(pd.DataFrame({"who": ["boi"]}))
    with pytest.raises(PoolError, match=r"E65.*`who`"):
        fit.predict(pd.DataFrame({"sex": [1]}))


@pytest.mark.parametrize("random", ["", " + (1 + a.b | school)"])
@pytest.mark.parametrize("fixed", ["a.b + .c", "a.b * .c", "`a.b` + I(.c^2)", "np.log(.c) + a.b"])
def test_names_with_dots_and_powers_are_those_of_r(
    popmis: pd.DataFrame, fixed: str, random: str
) -> None:
    plain = fixed.replace("`", "").replace("a.b", "sex").replace(".c", "texp").replace("^", "**")
    with_dots = Imputed(popmis.rename(columns={"sex": "a.b", "texp": ".c"}), {}, 1)
    found = analyze(with_dots, f"popular ~ {fixed}{random}").stack
    wanted = analyze(
        Imputed(popmis, {}, 1), f"popular ~ {plain}{random.replace('a.b', 'sex')}"
    ).stack
    np.testing.assert_allclose(found.params, wanted.params)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("popular - 1 ~ sex", {}, r"E58.*I\(popular - 1\)"),
        ("popular ~ . + (1 | school)", {}, "E58.*name the columns"),
        ("popular ~ `1` + sex", {}, "E58.*would be the intercept"),
        ("popular ~ age", {}, "E58.*do not have: age"),
        ("who ~ sex", {}, "E58.*not one number per row"),
        ("popular ~ sex", {"engine": "glm:binomial"}, "E67.*0 or 1"),
        ("I(popular / 2) ~ sex", {"engine": "glm:poisson"}, "E67.*counts"),
        ("popular ~ sex + (1 | school)", {"quadrature": 5}, "E59.*quadrature is for"),
    ],
)
def test_what_no_engine_can_fit_is_said_plainly(
    popmis: pd.DataFrame, text: str, options: dict[str, Any], message: str
) -> None:
    data = popmis.assign(who=np.where(popmis["sex"] > 0, "girl", "boy"))
    with pytest.raises(AnalysisError, match=f"^{message}"):
        analyze(Imputed(data, {}, 2), text, **options)
    with pytest.raises(AnalysisError, match=r"^E59.*takes imputed data, got DataFrame"):
        analyze(data, text)


@pytest.mark.parametrize("formula", ["popular ~ sex", "popular ~ sex + (1 | school)"])
def test_results_can_be_pickled(imputed: Imputed, formula: str) -> None:
    fits = analyze(imputed, formula)
    pooled = fits.pool(dfcom="inf")
    one, other = pickle.loads(pickle.dumps((fits, pooled)))
    pd.testing.assert_frame_equal(one.pool(dfcom="inf").summary(), pooled.summary())
    new = pd.DataFrame({"sex": [0, 1]})
    pd.testing.assert_frame_equal(other.predict(new), pooled.predict(new))
