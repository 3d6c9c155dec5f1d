"""Case study: body mass index, where the heavier people leave their weight out.

People in five clusters were asked for height, weight, age and obesity in the family. Body
mass index follows from height and weight, and stays in step with their imputations (passive
imputation). Many gave no weight, and one cluster was never asked. If the heavier are the
less willing, weight is missing not at random. How long an answer took says whether weight was
given and, given all else, nothing about weight. Complete cases, imputation at random and a
selection model are compared::

    BMI ~ Age + Gender + FamOb + (1 | Cluster)

and with the complete data, which are known where the data are simulated. A file of the
user's can take their place.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from jaxmice.sensitivity import DeltaAdjustment

FORMULA = "BMI ~ Age + Gender + FamOb + (1 | Cluster)"
PASSIVE = "~ Weight / Height**2"
IMPUTED = {"Height": "2l.pan", "FamOb": "2l.bin", "Age": "2l.pmm"}
"""Methods of the columns that may be missing at random."""

INGREDIENTS = ("Gender", "Height", "FamOb", "Age", "Weight")
"""Columns that predict each other."""

METHODS = {
    AT_RANDOM: ("2l.pan", "fixed", {}),
    SELECTION: ("2l.heckman", "selection", {"burnin": 300}),
}
"""Strategy -> method of weight, role of time in it, options."""

IDEAS = {
    CASES: "Drop everybody without a BMI; the cluster that was not asked is lost.",
    AT_RANDOM: "A two-level linear model of weight, <code>2l.pan</code>: those who gave none "
    "are like those who did, given all other variables.",
    SELECTION: "A two-level selection model of weight, <code>2l.heckman</code>: one equation "
    "for giving it, one for weight, whose residuals correlate. Time has code -3: it is in the "
    "first equation only.",
}
"""Strategy -> what it does."""

DELTAS = (-10.0, 0.0, 10.0, 20.0)
"""Shifts of the missing weights, in kg."""

ALL, ASKED = "all", "asked"
"""All people; those in clusters where anybody gave a weight."""


@dataclass(frozen=True, kw_only=True)
class Obesity(Selected):
    """What the case study found, see also `Selected`; estimates are coefficients of BMI.

    Attributes
    ----------
    means
        Strategy -> mean BMI, a row for ``"all"``, one for ``"asked"`` and one for every
        cluster: estimate, conf.low, conf.high (95%).
    restriction
        Association of time with giving the weight (log odds) and with weights given (kg),
        per minute.
    shifts
        Mean BMI of those asked by shift of the missing weights: estimate, conf.low, conf.high.
    """

    means: dict[str, pd.DataFrame]


def run(
    out: Path | str = ".", m: int = 20, seed: int = 1, data: Path | str | None = None
) -> Obesity:
    """Run the case study, print its tables and write ``obesity.html``.

    Parameters
    ----------
    out
        Folder for the page; made if need be.
    m
        Number of imputations of each strategy, at least 2.
    seed
        The same seed gives the same numbers.
    data
        A file with the columns Cluster, Time, Gender, Height (m), FamOb, Age, Weight (kg) and
        BMI, to take the place of the simulated data.

    Returns
    -------
    Obesity
        Imputations, estimates and means of all strategies.

    Raises
    ------
    DataError
        E12: the file lacks columns. E57: nobody lacks a weight, or nobody has one.
    """
    from jaxmice.tutorials._obesity_page import write_page

    folder = make_folder(out)
    result = compare(m, seed, None if data is None else read_own("obesity", data))
    show(format_table(result), findings(result))
    save(folder / "obesity.html", write_page(result), footer(result))
    return result


def compare(m: int = 20, seed: int = 1, own: pd.DataFrame | None = None) -> Obesity:
    """Impute and analyse with every strategy; each is announced on the error stream."""
    import jaxmice as jm

    start = time.perf_counter()
    complete = None
    if own is None:
        simulated = jm.datasets.make_obesity(seed=seed)
        data, complete = simulated.incomplete, simulated.complete
    else:
        data = with_categories(own)
    asked = _asked(data)
    restriction = _restriction(data, asked)
    levels = partial(_means, data=data, asked=asked)
    imputations, estimates, means = by_strategy(
        data,
        complete,
        lambda name: jm.mice(
            data, m=m, seed=seed, maxit=10, cluster="Cluster", **arguments(data, name)
        ),
        FORMULA,
        "BMI",
        levels,
    )
    shifts = _shift(data, asked, m, seed)
    return Obesity(
        data=data,
        complete=complete,
        imputations=imputations,
        estimates=estimates,
        means=means,
        restriction=restriction,
        shifts=by_shift(shifts, levels, ASKED),
        m=m,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def arguments(data: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the arguments of `jaxmice.mice` that make a strategy."""
    method, role, options = METHODS[name]
    others = {column: how for column, how in IMPUTED.items() if data[column].isna().any()}
    roles = {column: _row(column, "none") for column in others} | {"Weight": _row("Weight", role)}
    return {
        "method": others | {"Weight": method, "BMI": PASSIVE},
        "roles": roles,
        "options": {"Weight": options} if options else None,
    }


def _row(target: str, time: str) -> dict[str, str]:
    """Return the roles of all others: BMI follows from its ingredients and predicts none."""
    others = [column for column in INGREDIENTS if column != target]
    return {"Cluster": "cluster", "BMI": "none", "Time": time} | dict.fromkeys(others, "fixed")


def _asked(data: pd.DataFrame) -> list[Any]:
    """Return the clusters in which anybody gave a weight."""
    given = data["Weight"].notna()
    if given.all() or not given.any():
        raise DataError("E57", "column Weight needs both missing and observed values")
    return sorted(data.loc[given, "Cluster"].unique())


def _means(frames: Sequence[pd.DataFrame], data: pd.DataFrame, asked: list[Any]) -> pd.DataFrame:
    """Return mean BMI of all, of those asked, and by cluster."""
    clusters = sorted(data["Cluster"].unique())
    parts = {ALL: clusters, ASKED: asked} | {cluster: [cluster] for cluster in clusters}
    if len(frames[0]) < len(data) and len(asked) < len(clusters):
        del parts[ALL]
    return pool_parts(frames, "Cluster", "BMI", parts)


def _shift(data: pd.DataFrame, asked: list[Any], m: int, seed: int) -> "DeltaAdjustment":
    """Impute at random, with the weights that those asked did not give moved by every shift."""
    import jaxmice as jm

    return jm.delta_adjustment(
        data,
        "Cluster",
        target="Weight",
        deltas=DELTAS,
        by=asked,
        m=m,
        seed=seed,
        maxit=5,
        **arguments(data, AT_RANDOM),
    )


def _restriction(data: pd.DataFrame, asked: list[Any]) -> pd.DataFrame:
    """Return the association of time with giving the weight, and with weights given."""
    right = "Gender + Height + Age + FamOb + Time + (1 | Cluster)"
    some = data[data["Cluster"].isin(asked)]
    given = some.drop(columns=["Weight", "BMI"]).assign(given=some["Weight"].notna().astype(int))
    tables = {
        "giving the weight, log odds": fit(given, f"given ~ {right}", engine="glmm:binomial"),
        "the weight given, kg": fit(some, f"Weight ~ {right}"),
    }
    return only_term(tables, "Time")


def findings(result: Obesity) -> dict[str, str]:
    """Say in a sentence or two what every strategy does to the mean BMI of those asked."""
    mean = {name: float(table.loc[ASKED, "estimate"]) for name, table in result.means.items()}
    truth = mean.get(TRUTH)
    texts = {}
    for name in (CASES, AT_RANDOM, SELECTION):
        off = "" if truth is None else f", {points(mean[name] - truth, 'kg/m²')} the complete data"
        texts[name] = f"mean BMI of those asked {mean[name]:.1f} kg/m²{off}."
    texts[CASES] += " It speaks of those who gave their weight."
    texts[AT_RANDOM] += " Age, height and the like explain only part of who gives a weight."
    low, high = result.means[SELECTION].loc[ASKED, ["conf.low", "conf.high"]]
    texts[SELECTION] += f" The 95% interval is {low:.1f} to {high:.1f}."
    at = shift_between(result.shifts, mean[SELECTION])
    texts["shift"] = shift_found(at, "{:.1f} kg", "mean")
    return texts


def format_table(result: Obesity) -> str:
    """Return mean BMI by cluster, with 95% intervals, as lines of text."""
    lines = level_lines(result.means, "cluster")
    return "\n".join(["mean BMI in kg/m² and 95% interval", "", *lines])


def footer(result: Obesity) -> str:
    """Return the line on time and versions."""
    work = f"{len(METHODS)} imputations, {len(DELTAS)} shifts"
    return versions(result.seconds, work, result.m, result.seed)
