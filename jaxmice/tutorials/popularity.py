"""Case study: popularity of pupils, missing for two in five of them.

The data are those of the first case study of Oberman et al.: 2,000 pupils in 100 schools,
their popularity, sex, and the experience of their teacher. Popularity is missing for 848
pupils. The question is what becomes of the differences between schools, and of the effect
of sex, which differs between schools and changes with the teacher's experience::

    popular ~ sex * texp + (1 + sex | school)

Six ways to deal with the missing scores are compared with the complete data, which are
known because the values were removed on purpose.

References
----------
Oberman, H., Muñoz Avila, J., de Jong, V., Vink, G., & Debray, T. Imputation of incomplete
multilevel data with mice (tutorial, draft). The complete-data results are printed there.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxmice.errors import JaxMiceWarning
from jaxmice.tutorials._common import announced, interval, make_folder, save, show, versions

if TYPE_CHECKING:
    from jaxmice.analysis import LmmFit
    from jaxmice.imputed import ImputedData

FORMULA = "popular ~ sex * texp + (1 + sex | school)"
TERMS = ("Intercept", "sex", "texp", "sex:texp")
COMPLETE_DATA = pd.DataFrame(
    {
        "term": TERMS,
        "estimate": [3.314, 1.330, 0.110, -0.034],
        "conf.low": [2.998, 1.069, 0.090, -0.051],
        "conf.high": [3.629, 1.590, 0.130, -0.017],
    }
)
"""Estimates from the data before values were removed, as printed by Oberman et al."""
COMPLETE_ICC = 0.58
"""ICC of popularity before values were removed, as printed by Oberman et al."""
SAME = 0.02
"""An ICC that moves less than this has not moved."""


@dataclass(frozen=True)
class Strategy:
    """One way to deal with the missing scores.

    Attributes
    ----------
    codes
        Codes of the predictor matrix in the row of ``popular``, for the reader.
    idea
        What it does, in one sentence.
    arguments
        Arguments of `jaxmice.mice`; empty if nothing is imputed.
    """

    codes: str
    idea: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def _two_level(method: str, **more: str) -> dict[str, Any]:
    row = {"school": "cluster", "sex": "random", "texp": "fixed", "product": "none"} | more
    # The first visit starts the sampler; the others show that it has settled.
    return {
        "cluster": "school",
        "method": {"popular": method},
        "roles": {"popular": row},
        "maxit": 10,
    }


STRATEGIES = {
    "complete cases": Strategy("", "Drop every pupil without a score."),
    "pmm, no schools": Strategy(
        "school 0, sex 1, texp 1",
        "Predictive mean matching on sex and experience, as if there were no schools.",
        {"method": {"popular": "pmm"}, "roles": {"popular": "sex, texp"}},
    ),
    "norm, dummies": Strategy(
        "school 1, sex 1, texp 0",
        "Linear regression with one dummy variable per school.",
        {
            "cluster": "school",
            "method": {"popular": "norm"},
            # Experience is constant in a school: the dummies contain it already.
            "roles": {
                "popular": {"school": "fixed", "sex": "fixed", "texp": "none", "product": "none"}
            },
        },
    ),
    "2l.norm": Strategy(
        "school -2, sex 2, texp 1",
        "Random effects by school, and a residual variance of its own for every school.",
        _two_level("2l.norm"),
    ),
    "2l.pan": Strategy(
        "school -2, sex 2, texp 1",
        "Random effects by school, and one residual variance for all.",
        _two_level("2l.pan"),
    ),
    "2l.pan, product": Strategy(
        "school -2, sex 2, texp 1, sex × texp 1",
        "As before, with the product of sex and experience among the predictors.",
        _two_level("2l.pan", product="fixed"),
    ),
}
"""Name -> strategy, from the worst to the best."""


@dataclass(frozen=True)
class Popularity:
    """What the case study found.

    Attributes
    ----------
    data
        The incomplete data: school, popular, sex, texp and their product.
    imputations
        Strategy -> imputation; without the complete cases.
    estimates
        Strategy -> fixed effects: term, estimate, conf.low, conf.high (95%).
    icc
        Strategy -> ICC of popularity, the mean over imputations.
    m, seed, seconds
        Number of imputations, seed, and wall time of imputing and analysing.
    """

    data: pd.DataFrame
    imputations: "dict[str, ImputedData]"
    estimates: dict[str, pd.DataFrame]
    icc: dict[str, float]
    m: int
    seed: int
    seconds: float


def run(out: Path | str = ".", m: int = 20, seed: int = 1) -> Popularity:
    """Run the case study, print its table and write ``popularity.html``.

    Parameters
    ----------
    out
        Folder for the page; made if need be.
    m
        Number of imputations of each strategy, at least 2.
    seed
        The same seed gives the same numbers.

    Returns
    -------
    Popularity
        Imputations, estimates and ICCs of all strategies.
    """
    from jaxmice.tutorials._popularity_page import write_page

    folder = make_folder(out)
    result = compare(m, seed)
    show(format_table(result), findings(result))
    save(folder / "popularity.html", write_page(result), footer(result))
    return result


def compare(m: int = 20, seed: int = 1) -> Popularity:
    """Impute and analyse with every strategy; each is announced on the error stream."""
    import jaxmice as jm
    from jaxmice.analysis import lmm
    from jaxmice.missingness import icc as intraclass

    start = time.perf_counter()
    data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    data["product"] = data["sex"] * data["texp"]
    imputations, estimates, icc = {}, {}, {}
    for name, strategy in STRATEGIES.items():
        with announced(name):
            if strategy.arguments:
                imp = jm.mice(data, m=m, seed=seed, **strategy.arguments)
                with warnings.catch_warnings():
                    # What leaving the slope out does to the estimates is what is shown.
                    warnings.filterwarnings("ignore", "W32", JaxMiceWarning)
                    estimates[name] = imp.analyze(FORMULA).pool().summary()
                icc[name] = float(intraclass(imp, "school", ["popular"])["icc"].iloc[1:].mean())
                imputations[name] = imp
            else:
                estimates[name] = _with_intervals(lmm(FORMULA, data))
                icc[name] = float(intraclass(data, "school", ["popular"])["icc"].iloc[0])
    return Popularity(data, imputations, estimates, icc, m, seed, time.perf_counter() - start)


def format_table(result: Popularity) -> str:
    """Return estimates, 95% intervals and ICCs as lines of text."""
    rows = {"complete data": (COMPLETE_DATA, COMPLETE_ICC)} | {
        name: (table, result.icc[name]) for name, table in result.estimates.items()
    }
    lines = [
        f"{FORMULA}: estimate and 95% interval",
        "",
        f"{'':17}" + "".join(f"{term:17}" for term in TERMS) + f"{'ICC':>6}",
    ]
    for name, (table, icc) in rows.items():
        cells = [intervals(table)[term] for term in TERMS]
        lines.append(f"{name:17}" + "".join(f"{value:17}" for value, _ in cells) + f"{icc:6.2f}")
        lines.append(f"{'':17}" + "".join(f"{interval:17}" for _, interval in cells).rstrip())
    return "\n".join(lines)


def intervals(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return term -> estimate and interval as text, signs aligned."""
    texts = {}
    for row in table.set_index("term")[["estimate", "conf.low", "conf.high"]].itertuples():
        term, value, low, high = row
        texts[str(term)] = interval(value, low, high)
    return texts


def findings(result: Popularity) -> dict[str, str]:
    """Say in a sentence or two what each strategy does to the results."""
    n, dropped = len(result.data), int(result.data["popular"].isna().sum())
    observed = result.icc["complete cases"]
    wide = _width(result.estimates["complete cases"]) - 1
    texts = {
        "complete cases": f"{dropped:,} of {n:,} pupils are lost, and intervals are {wide:.0%} "
        "wider than those of the complete data. They are not biased here only because "
        "missingness depends on sex, which the model contains."
    }
    why = {
        "pmm, no schools": "Imputed pupils belong to no school in particular, so schools look "
        "more alike than they are.",
        "norm, dummies": "The effect of sex is the same in all schools, and a school without "
        "any score could not be imputed.",
        "2l.norm": "The differences between schools are kept.",
        "2l.pan": "The differences between schools are kept.",
        "2l.pan, product": "All that the analysis asks for is now in the imputation model.",
    }
    for name, reason in why.items():
        texts[name] = (
            f"the ICC {_moved(observed, result.icc[name])}. {reason} The interaction is "
            f"{_interaction(result.estimates[name]):.3f}, "
            f"{_share(result.estimates[name]):.0%} of that in the complete data."
        )
    return texts


def footer(result: Popularity) -> str:
    """Return the line on time and versions."""
    return versions(result.seconds, f"{len(STRATEGIES)} strategies", result.m, result.seed)


def _with_intervals(fit: "LmmFit") -> pd.DataFrame:
    from scipy.stats import t

    half = t.ppf(0.975, fit.df_resid) * fit.bse
    return pd.DataFrame(
        {
            "term": fit.params.index,
            "estimate": fit.params.to_numpy(),
            "conf.low": (fit.params - half).to_numpy(),
            "conf.high": (fit.params + half).to_numpy(),
        }
    )


def _moved(before: float, after: float) -> str:
    if abs(after - before) < SAME:
        return f"stays at {after:.2f}"
    return f"{'falls' if after < before else 'rises'} from {before:.2f} to {after:.2f}"


def _interaction(table: pd.DataFrame) -> float:
    return float(table.set_index("term")["estimate"]["sex:texp"])


def _share(table: pd.DataFrame) -> float:
    return _interaction(table) / _interaction(COMPLETE_DATA)


def _width(table: pd.DataFrame) -> float:
    """Width of the intervals, in units of those of the complete data, over the terms."""
    ours, theirs = table.set_index("term"), COMPLETE_DATA.set_index("term")
    width = (ours["conf.high"] - ours["conf.low"]) / (theirs["conf.high"] - theirs["conf.low"])
    return float(width[list(TERMS)].mean())
