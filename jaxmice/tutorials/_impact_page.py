"""The page of the case study of brain injury: its words, tables and figures."""

import html

import pandas as pd

from jaxmice.missingness import cluster_missing
from jaxmice.plots import (
    plot_cluster_miss,
    plot_convergence,
    plot_estimates,
    plot_pattern,
    plot_pred,
    plot_trace,
)
from jaxmice.report._page import definitions, facts, figure, page, paragraph, table
from jaxmice.tutorials._common import closing, drawn, sentence, stacked
from jaxmice.tutorials.impact import (
    DATA_SEED,
    FORMULA,
    ITERATIONS,
    VARIANCE,
    Impact,
    estimates,
    findings,
    footer,
)

TITLE = "Brain injury in 15 studies: impute a meta-analysis"

CODE = """import jaxmice as jm

{data}
model = "mort ~ type + age + motor_score + pupil + ct + " \\
        "hypox + hypots + tsah + edh + (1 | name)"
suggestion = jm.suggest(data, "name", model)
print(suggestion)
imp = jm.mice(model=suggestion.model, m={m}, maxit={maxit}, seed={seed})
fits = imp.analyze(model, engine="glmm:binomial")
print(fits.pool(dfcom="between_within"))
"""

CONTINUED = "\n  + ct"
"""Where the formula goes on in a second line."""

COLUMNS = {
    "name, type": "the study; whether it is a cohort (OBS) or a trial (RCT)",
    "age": "years",
    "motor_score": "motor part of the Glasgow Coma Scale, ordered",
    "pupil": "pupils that react: both, one, none",
    "ct": "Marshall class of the CT scan, ordered",
    "hypox, hypots": "hypoxia, hypotension before or at admission",
    "tsah, edh": "traumatic subarachnoid, epidural haemorrhage on the CT scan",
    "mort": "died within six months",
}


def write_page(result: Impact) -> str:
    """Return the page as HTML."""
    title = TITLE if "complete data" in result.results else "Impute a meta-analysis of brain injury"
    return page(
        title,
        [
            f"<h1>{title}</h1>",
            *_opening(result),
            *_missing(result),
            *_model(result),
            *_convergence(result),
            *_results(result),
            *_closing(result),
        ],
    )


def _opening(result: Impact) -> list[str]:
    data = result.data
    holes = data.isna()
    return [
        paragraph(
            "Studies lost values here and there, or never recorded a column at all. What to "
            "impute with, and what becomes of the analysis.",
            "lead",
        ),
        facts(
            [
                (f"{len(data):,}", "patients"),
                (f"{data['name'].nunique()}", "studies"),
                (f"{holes.any().sum()}", "incomplete columns"),
                (f"{holes.any(axis=1).mean():.0%}", "of the patients lack something"),
            ]
        ),
        paragraph(
            "The question is which findings at admission go with death within six months, in "
            "a logistic model in which studies differ in their level:"
        ),
        f"<pre><code>{html.escape(FORMULA.replace(' + ct', CONTINUED))}</code></pre>",
        definitions((f"<code>{name}</code>", text) for name, text in COLUMNS.items()),
    ]


def _missing(result: Impact) -> list[str]:
    data = result.data
    found = cluster_missing(data, "name")
    summary = found.summary[found.summary["share"] > 0]
    rows = [
        [
            f"<code>{html.escape(str(name))}</code>",
            f"{row['share']:.0%}",
            f"{row['sporadic']}",
            f"{row['systematic']}",
            f"{row['smallest']:.0%} to {row['largest']:.0%}",
        ]
        for name, row in summary.iterrows()
    ]
    systematic = int((found.type == "systematic").to_numpy().sum())
    pages = [
        "<h2>What is missing, and where</h2>",
        paragraph(
            "A hole is <em>sporadic</em> if the study has the column of other patients, "
            "<em>systematic</em> if it has it of nobody: then only the other studies tell what "
            "to impute, and how much studies differ tells how sure one can be."
        ),
        figure(
            drawn(plot_cluster_miss(data, "name")),
            f"Tiles of studies by columns; {systematic} of them are hatched, which means that "
            "the study lacks the column altogether.",
            "Share of missing values by study and column. Hatched: systematic.",
        ),
        table(["", "missing", "studies, sporadic", "studies, systematic", "by study"], rows),
        figure(
            drawn(plot_pattern(data, npat=10, rotate=True)),
            "Tiles of the ten most frequent patterns of observed and missing columns.",
            "The ten most frequent patterns of observed (blue) and missing (red) columns.",
        ),
    ]
    if "complete data" in result.results:
        pages.append(
            paragraph(
                "Here the holes were made on purpose by <code>multilevel_ampute</code>. Its "
                "mechanisms differ by study: <code>ct</code> is lacking in three studies, of old "
                "patients rather than young ones; holes in <code>pupil</code> depend on age in "
                "every other study and on nothing in the rest; those in <code>tsah</code> and "
                "<code>edh</code> on death, their shares on the study."
            )
        )
    return pages


def _model(result: Impact) -> list[str]:
    suggestion = result.suggestion
    rows = [
        [
            f"<code>{html.escape(name)}</code>",
            f"<code>{html.escape(suggestion.method[name])}</code>",
            html.escape(why),
        ]
        for name, why in suggestion.why.items()
    ]
    return [
        "<h2>What to impute with</h2>",
        paragraph(
            "<code>suggest</code> makes the imputation model out of the analysis model: every "
            "incomplete column is imputed from all others, death included, by a method with "
            "random effects of studies that fits the kind of the column."
        ),
        table(["", "method", "because"], rows),
        figure(
            drawn(plot_pred(suggestion.model)),
            "Predictor matrix: a row for each imputed column, its method on the right.",
            "Who predicts whom: a row for each imputed column.",
        ),
        paragraph("What it says about these data besides:"),
        "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in suggestion.advice) + "</ul>",
    ]


def _convergence(result: Impact) -> list[str]:
    verdicts = result.imp.converged()
    settled = int((verdicts["verdict"] == "converged").sum())
    blocks = [
        "<h2>Did the chains settle?</h2>",
        paragraph(
            f"Judged by the mean and standard deviation of the imputed values over {ITERATIONS} "
            f"iterations, {settled} of {len(verdicts)} columns count as converged."
        ),
        table(
            ["", "R-hat", "autocorrelation", "verdict"],
            [
                [
                    f"<code>{html.escape(row.variable)}</code>",
                    _number(row.rhat),
                    _number(row.ac),
                    html.escape(row.verdict),
                ]
                for row in verdicts.itertuples()
            ],
        ),
    ]
    if verdicts["rhat"].notna().any():
        blocks.append(
            figure(
                plot_convergence(result.imp)[0].figure,
                "R-hat and autocorrelation by iteration, one line per column.",
                "R-hat and autocorrelation of the mean by iteration. Dashed: their limits.",
            )
        )
    # The two columns with most holes are those to look at.
    worst = result.data.isna().sum().nlargest(2).index.tolist()
    blocks.append(
        figure(
            plot_trace(result.imp, worst)[0, 0].figure,
            f"Mean, standard deviation and ICC of {worst[0]} and {worst[1]} along the iterations.",
            f"The two columns with most holes, <code>{worst[0]}</code> and "
            f"<code>{worst[1]}</code>: one line per imputation. Categories count from 0.",
        )
    )
    return blocks


def _results(result: Impact) -> list[str]:
    tables = {name: estimates(pooled) for name, pooled in result.results.items()}
    fmi = result.results["imputed"].fmi
    rows = [
        [
            f"<code>{html.escape(term)}</code>" if term in fmi.index else f"variance {term}",
            *(stacked(*of.loc[term]) for of in tables.values()),
            f"{fmi[term]:.2f}" if term in fmi.index else "",
        ]
        for term in tables["imputed"].index
    ]
    known = tables.get("complete data")
    others = {name: _named(of) for name, of in tables.items() if name != "complete data"}
    between = "; ".join(
        f"{name}: {of.loc['between studies', 'estimate']:.3f}" for name, of in tables.items()
    )
    ends = "Dashed line and band: the complete data." if known is not None else ""
    extra = result.results["imputed"].extra.set_index("term")
    root = extra.loc[VARIANCE, "transform"] == "root"
    scale = "standard deviations" if root else "logarithms"
    return [
        "<h2>Who dies, and how much studies differ</h2>",
        paragraph(
            f"The model is fitted to each of the {result.m} completed data sets by maximum "
            "likelihood (Laplace's approximation); fits are combined by Rubin's rules. The last "
            f"row is the variance of the studies' levels, averaged, with an interval from {scale}."
        ),
        figure(
            plot_estimates(others, reference=None if known is None else _named(known))[0].figure,
            "Log-odds with intervals for every term and the variance between studies, one "
            f"line per strategy. Variance between studies, {between}.",
            f"Log-odds and 95% intervals; the last panel is the variance between studies. {ends}",
        ),
        table(
            ["log-odds", *tables, "missing information"],
            rows,
        ),
        definitions((name, sentence(text)) for name, text in findings(result).items()),
    ]


def _closing(result: Impact) -> list[str]:
    source = (
        f"data = jm.datasets.make_impact(seed={DATA_SEED}).incomplete"
        if "complete data" in result.results
        else 'data = jm.read_data("FILE")'
    )
    code = CODE.format(data=source, m=result.m, maxit=ITERATIONS, seed=result.seed)
    return closing(
        "Look at holes by study first. Impute with random effects of studies, by methods "
        "that fit the kind of each column, with the outcome among the predictors; then the "
        "studies that never recorded a column stay in the analysis. The whole of it:",
        code,
        footer(result),
        "Course of the case study: H. Oberman, J. Muñoz Avila, V. de Jong, G. Vink, "
        "T. Debray, <em>Imputation of incomplete multilevel data with mice</em>. Studies: "
        "E. Steyerberg et al., <em>Predicting outcome after traumatic brain injury</em>, PLoS "
        "Medicine 5(8), e165 (2008). On imputing such data: S. Jolani et al., "
        "<em>Imputation of systematically missing predictors in an individual participant "
        "data meta-analysis</em>, Statistics in Medicine 34 (2015).",
    )


def _named(estimated: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its terms as a column, which figures ask for."""
    return estimated.rename_axis("term").reset_index()


def _number(value: float) -> str:
    return "not defined" if pd.isna(value) else f"{value:.2f}"
