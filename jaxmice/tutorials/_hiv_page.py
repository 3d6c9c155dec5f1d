"""The page of the HIV case study: its words, tables and figures."""

import html

import pandas as pd

from jaxmice.missingness import cluster_missing
from jaxmice.plots import plot_conditional, plot_pattern
from jaxmice.report._page import definitions, figure, page, paragraph, table
from jaxmice.tutorials._common import (
    cell,
    closing,
    drawn,
    plot_by_cluster,
    plot_shifts,
    sentence,
)
from jaxmice.tutorials._selected_page import estimates, opening, trace
from jaxmice.tutorials.hiv import (
    ALL,
    AT_RANDOM,
    CASES,
    FORMULA,
    IDEAS,
    SELECTION,
    TRUTH,
    Hiv,
    findings,
    footer,
)

TITLE = "Those who were not tested"

CODE = """import jaxmice as jm

data = {data}
selection = jm.mice(
    data, m={m}, cluster="region", method={{"hiv": "2l.heckman"}}, maxit=10, seed={seed},
    roles={{"hiv": {{"region": "cluster", "age": "fixed", "marital": "fixed",
                   "condom": "fixed", "smoke": "selection"}}}},
)
fits = selection.analyze("hiv ~ age + marital + condom + (1 | region)",
                         engine="glmm:binomial")
print(fits.pool().summary())
"""


def write_page(result: Hiv) -> str:
    """Return the page as HTML."""
    parts = (
        _opening,
        _missing,
        _restriction,
        _ways,
        _prevalence,
        _estimates,
        _shifts,
        _trace,
        _closing,
    )
    return page(TITLE, (block for part in parts for block in part(result)))


def _opening(result: Hiv) -> list[str]:
    data, missing = result.data, result.data["hiv"].isna()
    items = [
        (f"{len(data):,}", "people"),
        (f"{data['region'].nunique()}", "regions"),
        (f"{missing.mean():.0%}", f"not tested ({missing.sum():,})"),
        (f"{data['hiv'].mean():.1%}", "of those tested are infected"),
    ]
    if result.complete is not None:
        items.append((f"{result.complete['hiv'].mean():.1%}", "of all are infected"))
    source = (
        "The data are simulated, so what is to be found is known: those who are infected "
        "refuse the test more often, given all that was asked of them."
        if result.complete is not None
        else "The data are those of a file, so nobody knows the results of those who were not "
        "tested."
    )
    return opening(
        TITLE,
        "How many are infected if those who suspect it stay away? Imputation at random, a "
        "selection model, and how much depends on the choice.",
        items,
        f"{source} Known of everybody are age, marital status, whether a condom was used "
        "last time, and smoking. The model of interest is a logistic regression with "
        "regions:",
        FORMULA,
    )


def _missing(result: Hiv) -> list[str]:
    data = result.data
    regions = cluster_missing(data, "region").summary.loc["hiv"]
    smoke = data["hiv"].isna().groupby(data["smoke"].astype(str)).mean()
    told = ", ".join(f"{share:.0%} ({html.escape(level)})" for level, share in smoke.items())
    return [
        "<h2>What is missing</h2>",
        figure(
            drawn(plot_pattern(data, cluster="region")),
            f"Tiles: hiv is missing in {data['hiv'].isna().sum():,} of {len(data):,} rows.",
            "Patterns of observed (blue) and missing (red) cells.",
            0.75,
        ),
        paragraph(
            f"Between {regions['smallest']:.0%} and {regions['largest']:.0%} of a region were "
            f"not tested. By smoking: {told}."
        ),
        figure(
            drawn(plot_conditional(data.astype({"smoke": str}), "smoke", "hiv")),
            f"Bars: not tested are {told}.",
            "Smoking where the result is observed and where it is missing.",
            0.75,
        ),
    ]


def _restriction(result: Hiv) -> list[str]:
    found = result.restriction
    rows = [
        [html.escape(name), cell(row)]
        for name, row in zip(found.index, found.to_numpy(), strict=True)
    ]
    sure = found.loc["being tested", "conf.low"] * found.loc["being tested", "conf.high"] > 0
    size = abs(float(found.loc["being tested", "estimate"]))
    strong = "strong" if size > 1 else "weak"
    told = (
        f"Here it does, and the association is {strong}."
        if sure
        else "Here it hardly does, and what follows from it is little."
    )
    return [
        "<h2>The exclusion restriction</h2>",
        paragraph(
            "A selection model compares groups that are tested to different extents. If smoking "
            "has nothing to do with infection, smokers and others must be infected alike; where "
            "those tested are not, selection did it. So smoking has to predict being tested, and "
            f"must not predict the result. {told}"
        ),
        table(["log odds ratio of smoking on", "estimate and 95% interval"], rows),
        paragraph(
            "The second line is computed from those tested, as nothing else is observed. It "
            "need not be zero: among people who were selected, whatever helps selection is "
            "associated with what hinders it. That smoking does not matter for infection is an "
            "assumption that no data of this kind can test.",
            "note",
        ),
    ]


def _ways(result: Hiv) -> list[str]:
    del result
    return ["<h2>Three ways</h2>", definitions(IDEAS.items())]


def _prevalence(result: Hiv) -> list[str]:
    names = [name for name in (TRUTH, CASES, AT_RANDOM, SELECTION) if name in result.prevalence]
    rows = []
    for region in result.prevalence[CASES].index:
        shares = (100 * result.prevalence[name].loc[region] for name in names)
        rows.append([str(region), *(cell(share, 1) for share in shares)])
    told = findings(result)
    by_region = {
        name: 100 * result.prevalence[name].drop(index=ALL) for name in names if name != TRUTH
    }
    truth = 100 * result.prevalence[TRUTH] if TRUTH in result.prevalence else None
    return [
        "<h2>What becomes of the prevalence</h2>",
        definitions((name, sentence(told[name])) for name in names if name in told),
        figure(
            plot_by_cluster(by_region, "prevalence in %", truth),
            "Prevalence of every region by three strategies; that of the selection model lies "
            "to the right of the other two.",
            "Prevalence by region with 95% intervals."
            + ("" if truth is None else " Dotted: the complete data."),
        ),
        table(["region, %", *names], rows),
    ]


def _estimates(result: Hiv) -> list[str]:
    slopes = [term for term in result.estimates[CASES]["term"] if term != "Intercept"]
    told = "; ".join(
        f"{name}: {slopes[0]} {_value(t, slopes[0]):.3f}" for name, t in result.estimates.items()
    )
    return estimates(
        result,
        slopes,
        "by maximum likelihood, and the fits are combined by Rubin's rules. Coefficients are log "
        "odds ratios.",
        f"Estimates with intervals for {len(slopes)} coefficients. {told}.",
    )


def _value(estimates: pd.DataFrame, term: str) -> float:
    return float(estimates.set_index("term").loc[term, "estimate"])


def _shifts(result: Hiv) -> list[str]:
    lines = {"selection": 100 * result.prevalence[SELECTION].loc[ALL, "estimate"]}
    if TRUTH in result.prevalence:
        lines["complete data"] = 100 * result.prevalence[TRUTH].loc[ALL, "estimate"]
    told = "; ".join(f"{d:g}: {v:.1%}" for d, v in result.shifts["estimate"].items())
    return [
        "<h2>Without the restriction: how different would they have to be?</h2>",
        paragraph(
            "Those who do not believe in an exclusion restriction can say how much likelier "
            "people without a test are to be infected, and see what follows. Imputation at "
            "random is repeated with the linear predictor of everybody without a result moved "
            f"by some probits. {sentence(findings(result)['shift'])}"
        ),
        figure(
            plot_shifts(100 * result.shifts, "prevalence in %", lines),
            f"Prevalence grows with the shift: {told}.",
            "Prevalence of all by shift, with 95% intervals; horizontal lines as named.",
            0.85,
        ),
    ]


def _trace(result: Hiv) -> list[str]:
    return trace(
        result,
        ["hiv"],
        "hiv",
        "The correlation of the two equations is learnt from little, and the sampler moves "
        "slowly: it takes 800 steps before the first iteration here, and ten more before "
        "each of the others. Lines may wander, but all together should have no trend.",
    )


def _closing(result: Hiv) -> list[str]:
    data = (
        f"jm.datasets.make_hiv(seed={result.seed}).incomplete"
        if result.complete is not None
        else 'jm.read_data("hiv.csv")[["hiv", "age", "region", "marital", "condom", "smoke"]]'
    )
    code = CODE.format(data=data, m=result.m, seed=result.seed)
    return closing(
        "If it can be the value itself that hides it, imputation at random may mislead, and "
        "nothing in the completed data shows it. A selection model needs a variable that "
        "predicts being observed and nothing else; a weak one leaves wide intervals. Then a "
        "grid of shifts is the more honest answer. The selection model in full:",
        code,
        footer(result),
        "The course of the case study: H. Oberman, J. Muñoz Avila, V. de Jong, G. Vink, "
        "T. Debray, <em>Imputation of incomplete multilevel data with mice</em>. The survey "
        "that is imitated: M. McGovern, T. Bärnighausen, G. Marra, R. Radice, <em>On the "
        "assumption of bivariate normality in selection models</em> (2015). On selection "
        "models for imputation: J. Muñoz et al., <em>Multiple imputation of incomplete "
        "multilevel data using Heckman selection models</em> (2023).",
    )
