"""Case study: HIV status, unknown for those who were not tested.

The second case study of Oberman et al.: 6,416 people in nine regions, one in five of whom
were not tested. Those who suspect that they are infected may refuse more often, and then
their status is missing not at random. Smoking says whether somebody was tested and, given all
else, nothing about the result; such an exclusion restriction lets a selection model tell the
two apart. Complete cases, imputation at random and the selection model are compared::

    hiv ~ age + marital + condom + (1 | region)

and with the complete data, which are known where the data are simulated. A file of the
user's can take their place.

References
----------
Oberman, H., Muñoz Avila, J., de Jong, V., Vink, G., & Debray, T. Imputation of incomplete
multilevel data with mice (tutorial, draft).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from jaxmice.errors import DataError
from jaxmice.tutorials._common import (
    fit,
    make_folder,
    only_term,
    points,
    pool_parts,
    read_own,
    save,
    shift_between,
    show,
    versions,
    with_categories,
)
from jaxmice.tutorials._selected import (
    AT_RANDOM,
    CASES,
    SELECTION,
    TRUTH,
    Selected,
    by_shift,
    by_strategy,
    level_lines,
    shift_found,
)

FORMULA = "hiv ~ age + marital + condom + (1 | region)"
ENGINE = "glmm:binomial"
PREDICTORS = dict.fromkeys(("age", "marital", "condom"), "fixed")
METHODS: dict[str, dict[str, Any]] = {
    AT_RANDOM: {
        "method": {"hiv": "2l.bin"},
        "roles": {"hiv": {"region": "cluster", "smoke": "fixed"} | PREDICTORS},
    },
    SELECTION: {
        "method": {"hiv": "2l.heckman"},
        "roles": {"hiv": {"region": "cluster", "smoke": "selection"} | PREDICTORS},
    },
}
"""Strategy -> arguments of `jaxmice.mice`."""

IDEAS = {
    CASES: "Drop everybody without a result.",
    AT_RANDOM: "A two-level probit model, <code>2l.bin</code>: those without a result are like "
    "those with one, given all other variables.",
    SELECTION: "A two-level selection model, <code>2l.heckman</code>: one equation for being "
    "tested, one for the result, whose residuals correlate. Smoking has code -3: it is in the "
    "first equation only.",
}
"""Strategy -> what it does."""

DELTAS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
"""Shifts of the linear predictor, in probits."""

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Hiv(Selected):
    """What the case study found, see also `Selected`; estimates are log-odds ratios.

    Attributes
    ----------
    prevalence
        Strategy -> share infected, a row for ``"all"`` and for every region: estimate,
        conf.low, conf.high (95%).
    restriction
        Log-odds ratio of smoking on being tested and on the result of those tested.
    shifts
        Prevalence of all by shift in probits: estimate, conf.low, conf.high.
    """

    prevalence: dict[str, pd.DataFrame]


def run(out: Path | str = ".", m: int = 20, seed: int = 1, data: Path | str | None = None) -> Hiv:
    """Run the case study, print its tables and write ``hiv.html``.

    Parameters
    ----------
    out
        Folder for the page; made if need be.
    m
        Number of imputations of each strategy, at least 2.
    seed
        The same seed gives the same numbers.
    data
        A file with the columns hiv (0/1), age, region, marital, condom and smoke, to take the
        place of the simulated data.

    Returns
    -------
    Hiv
        Imputations, estimates and prevalences of all strategies.

    Raises
    ------
    DataError
        E12: the file lacks columns. E57: hiv has values other than 0 and 1, or no missing ones.
    """
    from jaxmice.tutorials._hiv_page import write_page

    folder = make_folder(out)
    result = compare(m, seed, None if data is None else read_own("hiv", data))
    show(format_table(result), findings(result))
    save(folder / "hiv.html", write_page(result), footer(result))
    return result


def compare(m: int = 20, seed: int = 1, own: pd.DataFrame | None = None) -> Hiv:
    """Impute and analyse with every strategy; each is announced on the error stream."""
    import jaxmice as jm

    start = time.perf_counter()
    complete = None
    if own is None:
        simulated = jm.datasets.make_hiv(seed=seed)
        data, complete = simulated.incomplete, simulated.complete
    else:
        data = with_categories(own)
    _check(data)
    restriction = _restriction(data)
    imputations, estimates, prevalence = by_strategy(
        data,
        complete,
        lambda name: jm.mice(data, m=m, seed=seed, cluster="region", maxit=10, **METHODS[name]),
        FORMULA,
        "hiv",
        prevalences,
        engine=ENGINE,
    )
    shifts = _shift(data, m, seed)
    return Hiv(
        data=data,
        complete=complete,
        imputations=imputations,
        estimates=estimates,
        prevalence=prevalence,
        restriction=restriction,
        shifts=shifts,
        m=m,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def _check(data: pd.DataFrame) -> None:
    values = set(data["hiv"].dropna().unique())
    if values != {0, 1} or not data["hiv"].isna().any():
        raise DataError(
            "E57",
            "column hiv must have the values 0, 1 and missing; found "
            f"{', '.join(map(str, sorted(values, key=str)[:5])) or 'no value'}"
            f"{'' if data['hiv'].isna().any() else ', none missing'}",
        )


def prevalences(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the share infected of all and by region, pooled over completed data sets."""
    regions = sorted(frames[0]["region"].unique())
    parts = {ALL: regions} | {region: [region] for region in regions}
    return pool_parts(frames, "region", "hiv", parts)


def _shift(data: pd.DataFrame, m: int, seed: int) -> pd.DataFrame:
    """Impute at random, then those without a result likelier to be infected by every shift."""
    import jaxmice as jm

    shifted = jm.delta_adjustment(
        data, "region", target="hiv", deltas=DELTAS, m=m, seed=seed, **METHODS[AT_RANDOM]
    )
    return by_shift(shifted, prevalences, ALL)


def _restriction(data: pd.DataFrame) -> pd.DataFrame:
    """Return the association of smoking with being tested, and with the result."""
    right = "age + marital + condom + smoke + (1 | region)"
    tested = data.drop(columns="hiv").assign(tested=data["hiv"].notna().astype(int))
    tables = {
        "being tested": fit(tested, f"tested ~ {right}", engine=ENGINE),
        "the result": fit(data, f"hiv ~ {right}", engine=ENGINE),
    }
    return only_term(tables, "smoke")


def findings(result: Hiv) -> dict[str, str]:
    """Say in a sentence or two what every strategy does to the prevalence."""
    share = {name: float(table.loc[ALL, "estimate"]) for name, table in result.prevalence.items()}
    truth = share.get(TRUTH)
    low, high = result.prevalence[SELECTION].loc[ALL, ["conf.low", "conf.high"]]
    texts = {}
    for name in (CASES, AT_RANDOM, SELECTION):
        against = (
            ""
            if truth is None
            else f", {points(100 * (share[name] - truth), 'percentage points')} the complete data"
        )
        texts[name] = f"prevalence {share[name]:.1%}{against}."
    texts[CASES] += " It speaks of those who were tested."
    texts[AT_RANDOM] += (
        " It moves from that of the complete cases only as far as people differ in what is "
        "known of them."
    )
    texts[SELECTION] += (
        f" The interval, {low:.1%} to {high:.1%}, is wider: that those without a result differ "
        "has to be learnt from smoking."
    )
    at = shift_between(result.shifts, share[SELECTION])
    texts["shift"] = shift_found(at, "{:.2f} probits", "prevalence")
    return texts


def format_table(result: Hiv) -> str:
    """Return prevalences by region, in percent with 95% intervals, as lines of text."""
    lines = level_lines(result.prevalence, "region", scale=100)
    return "\n".join(["prevalence in % and 95% interval", "", *lines])


def footer(result: Hiv) -> str:
    """Return the line on time and versions."""
    work = f"{len(METHODS)} imputations, {len(DELTAS)} shifts"
    return versions(result.seconds, work, result.m, result.seed)
