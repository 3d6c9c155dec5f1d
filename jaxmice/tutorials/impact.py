"""Case study: mortality after brain injury in 15 studies, with holes in six columns.

A meta-analysis of individual patients, after the third case study of Oberman et al. The data
are simulated with the sizes and shares of the IMPACT studies (see `jaxmice.datasets.make_impact`):
some studies never recorded a column, all lost values here and there, for reasons that differ
between studies. The question is who dies within six months, and how much studies differ::

    mort ~ type + age + motor_score + pupil + ct + hypox + hypots + tsah + edh + (1 | name)

`suggest` makes the imputation model out of it. As the values were removed on purpose, results
are compared with those of the complete data.

References
----------
Oberman, H., Muñoz Avila, J., de Jong, V., Vink, G., & Debray, T. Imputation of incomplete
multilevel data with mice (tutorial, draft).
Steyerberg, E. W., et al. (2008). Predicting outcome after traumatic brain injury. PLoS
Medicine, 5(8), e165.
"""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.tutorials._common import (
    announced,
    interval,
    make_folder,
    read_own,
    save,
    show,
    versions,
)

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData
    from jaxmice.model import Suggestion
    from jaxmice.pooling import PooledResults

FORMULA = "mort ~ type + age + motor_score + pupil + ct + hypox + hypots + tsah + edh + (1 | name)"
VARIANCE = "Intercept~~Intercept|name"
"""Name of the variance between studies among the pooled components."""
ITERATIONS = 10
DATA_SEED = 3
"""Of the simulated data, which stay the same whatever the seed of the imputations."""


@dataclass(frozen=True)
class Impact:
    """What the case study found.

    Attributes
    ----------
    data
        The incomplete data.
    suggestion
        The imputation model and its reasons.
    imp
        The imputation.
    results
        Strategy -> pooled results: ``complete data`` (where these are known), ``complete
        cases``, ``imputed``.
    m, seed, seconds
        Number of imputations, seed, and wall time of imputing and analysing.
    """

    data: pd.DataFrame
    suggestion: "Suggestion"
    imp: "ImputedData"
    results: "dict[str, PooledResults]"
    m: int
    seed: int
    seconds: float


def run(
    out: Path | str = ".", m: int = 20, seed: int = 1, data: Path | str | None = None
) -> Impact:
    """Run the case study, print its table and write ``impact.html``.

    Parameters
    ----------
    out
        Folder for the page; made if need be.
    m
        Number of imputations, at least 2.
    seed
        The same seed gives the same numbers.
    data
        File with the columns of `jaxmice.datasets.make_impact`, to run on in place of simulated
        data.

    Returns
    -------
    Impact
        The suggested model, the imputation and the pooled results.

    Raises
    ------
    DataError
        E12, when the file lacks columns; E35, when its categories are others.
    """
    from jaxmice.tutorials._impact_page import write_page

    folder = make_folder(out)
    if data is None:
        from jaxmice.datasets import make_impact

        simulated = make_impact(seed=DATA_SEED)
        result = compare(simulated.incomplete, simulated.complete, m, seed)
    else:
        result = compare(order_levels(read_own("impact", data)), None, m, seed)
    show(format_table(result), findings(result))
    save(folder / "impact.html", write_page(result), footer(result))
    return result


def order_levels(data: pd.DataFrame) -> pd.DataFrame:
    """Give the categories of a text file their order, which the file cannot tell.

    Raises
    ------
    DataError
        E35: a column has other categories.
    """
    from jaxmice.datasets.impact import LEVELS, ORDERED

    known = {"type": ("OBS", "RCT")} | {
        name: tuple(LEVELS[name]) for name in ("motor_score", "pupil", "ct")
    }
    data = data.copy()
    for name, levels in known.items():
        others = sorted({str(value) for value in data[name].dropna().unique()} - set(levels))
        if others:
            raise DataError(
                "E35",
                f"column {name} has the value {others[0]!r}; tutorial impact knows "
                f"{', '.join(levels)}; rename the values of the file",
            )
        data[name] = pd.Categorical(data[name], list(levels), ordered=name in ORDERED)
    return data


def compare(
    data: pd.DataFrame, complete: pd.DataFrame | None, m: int = 20, seed: int = 1
) -> Impact:
    """Impute and analyse; each step is announced on the error stream.

    Parameters
    ----------
    data
        The incomplete data.
    complete
        The same data before values were removed, if known.
    m, seed
        As `run`.
    """
    import jaxmice as jm
    from jaxmice.analysis import complete_case

    start = time.perf_counter()
    engine = "glmm:binomial"
    results = {}
    for name, rows in {"complete data": complete, "complete cases": data}.items():
        if rows is not None:
            with announced(name), warnings.catch_warnings():
                # The degrees of freedom only matter for a single data set where the fits of
                # imputed data, below, ask for them.
                warnings.filterwarnings("ignore", "W28", JaxMiceWarning)
                results[name] = complete_case(rows, FORMULA, engine=engine)
    suggestion = jm.suggest(data, "name", FORMULA)
    with announced("imputation"):
        imp = jm.mice(model=suggestion.model, m=m, maxit=ITERATIONS, seed=seed)
    with announced("analysis"):
        fits = imp.analyze(FORMULA, engine=engine)
        results["imputed"] = fits.pool(dfcom="between_within")
    return Impact(data, suggestion, imp, results, m, seed, time.perf_counter() - start)


def format_table(result: Impact) -> str:
    """Return estimates and 95% intervals as lines of text, a row for every term."""
    rows = [f"{'':19}" + "".join(f"{name:27}" for name in result.results)]
    tables = [estimates(pooled) for pooled in result.results.values()]
    for term in tables[0].index:
        cells = (" ".join(interval(*table.loc[term])) for table in tables)
        rows.append(f"{term:19}" + "".join(f"{cell:27}" for cell in cells))
    head = [f"{FORMULA}:", "log-odds and 95% interval", ""]
    return "\n".join(head + [row.rstrip() for row in rows])


def estimates(pooled: "PooledResults") -> pd.DataFrame:
    """Return estimate and 95% limits of every term, and of the variance between studies."""
    columns = ["estimate", "conf.low", "conf.high"]
    extra = pooled.extra.set_index("term").rename(index={VARIANCE: "between studies"})
    return pd.concat(
        [pooled.summary().set_index("term")[columns], extra.loc[["between studies"], columns]]
    )


def findings(result: Impact) -> dict[str, str]:
    """Say in a sentence or two what each strategy does to the results."""
    data, tables = result.data, {name: estimates(p) for name, p in result.results.items()}
    whole = data.dropna()
    lost = data["name"].nunique() - whole["name"].nunique()
    width = _mean_width(tables["complete cases"]) / _mean_width(tables["imputed"]) - 1
    texts = {
        "complete cases": f"{len(data) - len(whole):,} of {len(data):,} patients are lost"
        + (f", and with them {lost} of {data['name'].nunique()} studies" if lost else "")
        + f". Intervals are {width:.0%} wider "
        "than those of the imputed data, in the geometric mean."
    }
    texts["imputed"] = (
        "all patients and studies are kept, and the variance between studies is "
        f"{tables['imputed'].loc['between studies', 'estimate']:.3f}."
    )
    if "complete data" in tables:
        texts["imputed"] = (
            texts["imputed"][:-1]
            + f", against {tables['complete data'].loc['between studies', 'estimate']:.3f} in the "
            "complete data."
        )
        for name in texts:
            texts[name] += (
                " Coefficients are off those of the complete data by "
                f"{_distance(result, name):.2f} of their standard errors there, in the root mean "
                "square."
            )
    return texts


def footer(result: Impact) -> str:
    """Return the line on time and versions."""
    work = f"imputing with {ITERATIONS} iterations and all analyses"
    return versions(result.seconds, work, result.m, result.seed)


def _distance(result: Impact, name: str) -> float:
    complete, other = result.results["complete data"], result.results[name]
    return float(np.sqrt((((other.params - complete.params) / complete.bse) ** 2).mean()))


def _mean_width(table: pd.DataFrame) -> float:
    terms = table.drop(index="between studies")
    return float(np.exp(np.log(terms["conf.high"] - terms["conf.low"]).mean()))
