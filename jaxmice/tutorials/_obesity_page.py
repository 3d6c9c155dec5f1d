"""The page of the case study of obesity: its words, tables and figures."""

import html

from jaxmice.plots import (
    plot_cluster_miss,
    plot_density,
    plot_pattern,
)
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
from jaxmice.tutorials.obesity import (
    ALL,
    ASKED,
    AT_RANDOM,
    CASES,
    FORMULA,
    IDEAS,
    PASSIVE,
    SELECTION,
    TRUTH,
    Obesity,
    arguments,
    findings,
    footer,
)

TITLE = "Those who do not tell their weight"

CODE = """import jaxmice as jm

data = {data}
method = {method}
parts = ["Gender", "Height", "FamOb", "Age", "Weight"]
roles = {{
    target: {{"Cluster": "cluster", "BMI": "none",
             "Time": "selection" if target == "Weight" else "none"}}
    | {{part: "fixed" for part in parts if part != target}}
    for target in method if target != "BMI"
}}
selection = jm.mice(data, m={m}, cluster="Cluster", method=method, roles=roles, maxit=10,
                    options={{"Weight": {{"burnin": 300}}}}, seed={seed})
print(selection.analyze("{formula}").pool().summary())
"""


def write_page(result: Obesity) -> str:
    """Return the page as HTML."""
    parts = (
        _opening,
        _missing,
        _restriction,
        _ways,
        _means,
        _estimates,
        _shifts,
        _plausible,
        _trace,
        _closing,
    )
    return page(TITLE, (block for part in parts for block in part(result)))


def _opening(result: Obesity) -> list[str]:
    data, missing = result.data, result.data["Weight"].isna()
    items = [
        (f"{len(data):,}", "people"),
        (f"{data['Cluster'].nunique()}", "clusters"),
        (f"{missing.mean():.0%}", f"without a weight ({missing.sum():,})"),
        (f"{result.means[CASES].loc[ASKED, 'estimate']:.1f}", "mean BMI of the others, kg/m²"),
    ]
    if result.complete is not None:
        mean = result.means[TRUTH].loc[ASKED, "estimate"]
        items.append((f"{mean:.1f}", "mean BMI of all who were asked"))
    source = (
        "The data are simulated, so what is to be found is known: the heavier people are, the "
        "less often they give their weight, and one cluster was never asked."
        if result.complete is not None
        else "The data are those of a file, so nobody knows the weights that were not given."
    )
    return opening(
        TITLE,
        "Body mass index follows from height and weight, and weight is what some prefer "
        "not to say. Passive imputation, at random and by a selection model.",
        items,
        f"{source} The model of interest:",
        FORMULA,
    )


def _missing(result: Obesity) -> list[str]:
    data = result.data
    shares = data.isna().mean()
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares[shares > 0].items())
    return [
        "<h2>What is missing</h2>",
        paragraph(f"Missing are {told}."),
        figure(
            drawn(plot_pattern(data, cluster="Cluster", npat=12)),
            f"Tiles of observed and missing cells by pattern; missing are {told}.",
            "Patterns of observed (blue) and missing (red) cells, the most frequent ones.",
        ),
        figure(
            drawn(plot_cluster_miss(data, "Cluster")),
            f"Tiles of the share missing by cluster and column; overall {told}.",
            "Share missing by cluster.",
        ),
    ]


def _restriction(result: Obesity) -> list[str]:
    found = result.restriction
    rows = [[html.escape(str(name)), cell(row)] for name, row in found.iterrows()]
    first = found.iloc[0]
    sure = first["conf.low"] * first["conf.high"] > 0
    told = "Here it does." if sure else "Here it hardly does, and what follows from it is little."
    return [
        "<h2>The exclusion restriction</h2>",
        paragraph(
            "A selection model compares people who give their weight to different extents. If "
            "the time an answer takes has nothing to do with weight, quick and slow people must "
            "weigh the same; where those who answered do not, selection did it. So time has to "
            f"predict that a weight is given, and must not predict weight itself. {told}"
        ),
        table(["association of a minute with", "estimate and 95% interval"], rows),
        paragraph(
            "Given all other variables, among those who were asked. The second line is computed "
            "from those who answered and need not be zero: among people who were selected, "
            "whatever hinders selection is associated with what else does. That time does not "
            "matter for weight is an assumption that no data of this kind can test.",
            "note",
        ),
    ]


def _ways(result: Obesity) -> list[str]:
    del result
    return [
        "<h2>Three ways</h2>",
        definitions(IDEAS.items()),
        paragraph(
            f"In both imputations BMI is passive, <code>{html.escape(PASSIVE)}</code>: computed "
            "anew whenever height or weight is imputed, and no predictor of either. The other "
            "incomplete columns are imputed at random."
        ),
    ]


def _means(result: Obesity) -> list[str]:
    names = [name for name in (TRUTH, CASES, AT_RANDOM, SELECTION) if name in result.means]
    rows = []
    for part in result.means[SELECTION].index:
        tables = (result.means[name] for name in names)
        rows.append(
            [str(part), *(cell(t.loc[part], 1) if part in t.index else "–" for t in tables)]
        )
    told = findings(result)
    clusters = {
        name: result.means[name].drop(index=[ALL, ASKED], errors="ignore")
        for name in names
        if name != TRUTH
    }
    truth = result.means.get(TRUTH)
    return [
        "<h2>What becomes of the mean</h2>",
        definitions((name, sentence(told[name])) for name in names if name in told),
        figure(
            plot_by_cluster(clusters, "mean BMI in kg/m²", truth),
            "Mean BMI of every cluster by three strategies.",
            "Mean BMI by cluster with 95% intervals. A cluster that gave no weight has an "
            "imputed mean only, from the distribution over the others: its interval is wide."
            + ("" if truth is None else " Dotted: the complete data."),
        ),
        table(["cluster, kg/m²", *names], rows),
    ]


def _estimates(result: Obesity) -> list[str]:
    terms = list(result.estimates[CASES]["term"])
    return estimates(
        result,
        terms,
        "by restricted maximum likelihood, and the fits are combined by Rubin's rules.",
        f"Estimates with intervals of {', '.join(terms)} by strategy; the table below has "
        "the numbers.",
    )


def _shifts(result: Obesity) -> list[str]:
    lines = {"selection": float(result.means[SELECTION].loc[ASKED, "estimate"])}
    if TRUTH in result.means:
        lines["complete data"] = float(result.means[TRUTH].loc[ASKED, "estimate"])
    told = "; ".join(
        f"{delta:g} kg: {mean:.1f}" for delta, mean in result.shifts["estimate"].items()
    )
    return [
        "<h2>Without the restriction: how much heavier would they have to be?</h2>",
        paragraph(
            "Imputation at random is repeated with the weights that were asked for and not "
            f"given moved by some kg; BMI follows. {sentence(findings(result)['shift'])}"
        ),
        figure(
            plot_shifts(result.shifts, "mean BMI in kg/m²", lines),
            f"Mean BMI grows with the shift: {told}.",
            "Mean BMI of those asked by shift in kg, with 95% intervals; horizontal lines as "
            "named.",
            0.85,
        ),
    ]


def _plausible(result: Obesity) -> list[str]:
    blocks = [
        "<h2>Observed against imputed</h2>",
        paragraph(
            "Imputed weights should be weights that people can have. Under selection they need "
            "not look like those that were given: that they do not is the point."
        ),
    ]
    for name in (AT_RANDOM, SELECTION):
        blocks.append(
            figure(
                drawn(plot_density(result.imputations[name], "Weight")),
                f"Densities of observed and imputed weights, {name}.",
                f"<b>{sentence(name)}</b>: weights given (blue) and imputed (red).",
                0.75,
            )
        )
    return blocks


def _trace(result: Obesity) -> list[str]:
    return trace(
        result,
        ["Weight", "BMI"],
        "weight and BMI",
        "The correlation of the two equations is learnt from little, so the selection model "
        "takes 300 steps before the first iteration. Lines may wander, but all together "
        "should have no trend.",
    )


def _closing(result: Obesity) -> list[str]:
    data = (
        f"jm.datasets.make_obesity(seed={result.seed}).incomplete"
        if result.complete is not None
        else 'jm.read_data("obesity.csv")'
    )
    method = str(arguments(result.data, SELECTION)["method"])
    code = CODE.format(
        data=data,
        method=method.replace("'", '"').replace(', "W', ',\n          "W'),
        m=result.m,
        seed=result.seed,
        formula=FORMULA,
    )
    return closing(
        "Impute the ingredients, and let what follows from them follow. Where the value "
        "itself may be what hides it, say so: by a selection model if a variable predicts "
        "being observed and nothing else, and by a grid of shifts in any case. The "
        "selection model in full:",
        code,
        footer(result),
        "The survey that is imitated: F. Palechor, A. de la Hoz Manotas, <em>Dataset for "
        "estimation of obesity levels based on eating habits and physical condition</em> "
        "(2019). On selection models for imputation: J. Muñoz et al., <em>Multiple "
        "imputation of incomplete multilevel data using Heckman selection models</em> "
        "(2023). On shifts: S. van Buuren, H. Boshuizen, D. Knook, <em>Multiple imputation "
        "of missing blood pressure covariates in survival analysis</em> (1999).",
    )
