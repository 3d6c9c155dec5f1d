"""The page of the popularity case study: its words, tables and figures."""

import html

from jaxmice.missingness import cluster_missing, icc
from jaxmice.plots import (
    plot_box,
    plot_conditional,
    plot_estimates,
    plot_icc,
    plot_pattern,
    plot_strip,
    plot_trace,
)
from jaxmice.report._page import definitions, facts, figure, page, paragraph, table
from jaxmice.tutorials._common import closing, drawn, sentence
from jaxmice.tutorials.popularity import (
    COMPLETE_DATA,
    COMPLETE_ICC,
    STRATEGIES,
    TERMS,
    Popularity,
    findings,
    footer,
    intervals,
)

TITLE = "How (not) to impute pupils in schools"

CODE = """import jaxmice as jm

data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
data["product"] = data["sex"] * data["texp"]
imp = jm.mice(
    data, m={m}, cluster="school", method={{"popular": "2l.pan"}}, seed={seed},
    roles={{"popular": {{"school": "cluster", "sex": "random",
                       "texp": "fixed", "product": "fixed"}}}},
)
fits = imp.analyze("popular ~ sex * texp + (1 + sex | school)")
print(fits.pool().summary())
"""


def write_page(result: Popularity) -> str:
    """Return the page as HTML."""
    return page(
        TITLE,
        [
            *_opening(result),
            *_missing(result),
            *_strategies(),
            *_results(result),
            *_between(result),
            *_plausible(result),
            *_traces(result),
            *_closing(result),
        ],
    )


def _opening(result: Popularity) -> list[str]:
    data = result.data
    missing = data["popular"].isna()
    return [
        f"<h1>{TITLE}</h1>",
        paragraph(
            "Two in five popularity scores are missing. Six ways to deal with that, and what "
            "each does to the differences between schools.",
            "lead",
        ),
        facts(
            [
                (f"{len(data):,}", "pupils"),
                (f"{data['school'].nunique()}", "schools"),
                (f"{missing.mean():.0%}", f"of the scores missing ({missing.sum():,})"),
                (f"{COMPLETE_ICC:.2f}", "ICC before scores were removed"),
            ]
        ),
        paragraph(
            "The data are simulated: pupils rated from 0 to 10 for their popularity, with their "
            "sex (0 boy, 1 girl) and their teacher's experience in years. Experience is a "
            "property of the class, so all pupils of a school share it. The model of interest "
            "lets the effect of sex differ between schools and depend on experience:"
        ),
        "<pre><code>popular ~ sex * texp + (1 + sex | school)</code></pre>",
        paragraph(
            "Scores were removed on purpose, so the results to be found are known. How much of "
            "the variance lies between schools is summarised by the intraclass correlation, "
            "the ICC: 0 if schools do not differ, 1 if pupils of a school are all alike."
        ),
    ]


def _missing(result: Popularity) -> list[str]:
    data = result.data.drop(columns="product")
    missing = data["popular"].isna()
    by_sex = missing.groupby(data["sex"]).mean()
    named = data.assign(sex=data["sex"].map({0: "boy", 1: "girl"}))
    texp = data["texp"].groupby(missing).mean()
    schools = cluster_missing(data, "school").summary.loc["popular"]
    return [
        "<h2>What is missing</h2>",
        paragraph(
            f"Only popularity has gaps. They are <em>sporadic</em>: each of the "
            f"{schools['sporadic']:.0f} schools has pupils with and pupils without a score "
            f"(between {schools['smallest']:.0%} and {schools['largest']:.0%} are missing), so "
            "every school says something about itself."
        ),
        figure(
            drawn(plot_pattern(data, cluster="school")),
            f"Tiles: in {(~missing).sum():,} rows all four variables are observed, in "
            f"{missing.sum():,} popular is missing.",
            "Patterns of observed (blue) and missing (red) cells.",
            0.75,
        ),
        paragraph(
            "Does a missing score say something about the pupil? Boys lack one more often "
            f"({by_sex[0]:.0%}) than girls ({by_sex[1]:.0%}). Experience hardly differs: "
            f"{texp[False]:.1f} years on average where the score is known, {texp[True]:.1f} "
            "where it is missing. An imputation model therefore needs sex."
        ),
        figure(
            drawn(plot_conditional(named, "sex", "popular")),
            f"Bars: {by_sex[0]:.0%} of boys and {by_sex[1]:.0%} of girls have no score; among "
            "the rows with a missing score boys are the majority.",
            "Sex where popularity is observed and where it is missing. The bars differ: "
            "missingness depends on sex.",
            0.75,
        ),
        figure(
            drawn(plot_conditional(data, "texp", "popular")),
            "Two histograms of teacher experience that nearly coincide.",
            "Teacher experience in years, likewise. The two outlines agree up to chance.",
            0.75,
        ),
    ]


def _strategies() -> list[str]:
    items = [
        (name, strategy.idea + (f" <code>{strategy.codes}</code>" if strategy.codes else ""))
        for name, strategy in STRATEGIES.items()
    ]
    return [
        "<h2>Six strategies</h2>",
        definitions(items),
        paragraph(
            "Codes of the predictor matrix: -2 the cluster, 1 a fixed effect, 2 a fixed and a "
            "random effect, 0 not used; 1 on the school means a dummy variable for each. "
            "<code>2l.norm</code> gives each school a residual variance of its own, "
            "<code>2l.pan</code> has one for all. (The draft of the tutorial that this case "
            "study follows describes them the other way round.)",
            "note",
        ),
    ]


def _results(result: Popularity) -> list[str]:
    rows = {"complete data": (COMPLETE_DATA, COMPLETE_ICC)} | {
        name: (estimates, result.icc[name]) for name, estimates in result.estimates.items()
    }
    cells = []
    for name, (estimates, rho) in rows.items():
        texts = intervals(estimates)
        cells.append(
            [
                name,
                *(f"{texts[term][0]}<small>{texts[term][1]}</small>" for term in TERMS),
                f"{rho:.2f}",
            ]
        )
    told = "; ".join(
        f"{name}: interaction {intervals(estimates)['sex:texp'][0]}"
        for name, estimates in result.estimates.items()
    )
    return [
        "<h2>What becomes of the estimates</h2>",
        paragraph(
            f"Each strategy but the first makes {result.m} completed data sets. The model is "
            "fitted to each by restricted maximum likelihood, and the fits are combined by "
            "Rubin's rules."
        ),
        figure(
            plot_estimates(result.estimates, reference=COMPLETE_DATA)[0].figure,
            f"Estimates with intervals for four fixed effects and six strategies. {told}.",
            "Estimates and 95% intervals. Dashed line and band: the complete data.",
        ),
        table(["", *TERMS, "ICC"], cells),
        definitions((name, sentence(text)) for name, text in findings(result).items()),
        paragraph(
            "The interaction shows what an imputation model must contain. Imputed scores follow "
            "the model they were drawn from; if that has no product of sex and experience, "
            "two in five pupils have no interaction, and the estimate shrinks."
        ),
    ]


def _between(result: Popularity) -> list[str]:
    seen = icc(result.data, "school", ["popular"]).iloc[0]
    told = "; ".join(f"{name}: {result.icc[name]:.2f}" for name in result.imputations)
    return [
        "<h2>What becomes of the schools</h2>",
        paragraph(
            f"Among the observed scores the ICC is {seen['icc']:.2f} (95% interval "
            f"{seen['ci_low']:.2f} to {seen['ci_high']:.2f}). A good imputation keeps it. This "
            "is the check that a comparison of all observed with all imputed values, below, "
            "cannot replace."
        ),
        figure(
            drawn(
                plot_icc(result.imputations, "popular", cluster="school", reference=COMPLETE_ICC)
            ),
            f"ICC of every completed data set by strategy, means: {told}.",
            "ICC of each completed data set (dots) and their mean (bar, and number on the "
            "right). Blue: observed scores with their 95% interval. Dashed: complete data.",
            0.8,
        ),
    ]


def _plausible(result: Popularity) -> list[str]:
    blocks = [
        "<h2>Observed against imputed</h2>",
        paragraph(
            "Imputed values should look like values that could have been observed. Predictive "
            "mean matching borrows observed scores, so it yields whole numbers between 0 and "
            "10; the normal models yield any number, a few of them beyond the scale. That is no "
            "flaw for means and regressions, and rounding would do more harm than good. Note "
            "that the strategy that ignores the schools looks as good here as the others."
        ),
    ]
    for name in ("pmm, no schools", "2l.pan, product"):
        blocks.append(
            figure(
                drawn(plot_strip(result.imputations[name], "popular")),
                f"Points of observed and imputed popularity by imputation, {name}; both cover "
                "the same range.",
                f"<b>{html.escape(name)}</b>: observed scores (blue, 0) and imputed ones (red).",
            )
        )
    name = "2l.pan, product"
    blocks.append(
        figure(
            drawn(plot_box(result.imputations[name], "popular")),
            f"Boxes of observed and imputed popularity by imputation, {name}; imputed scores "
            "are centred a little lower or at the same height.",
            f"<b>{name}</b> once more, as boxes. Imputed scores need not agree with observed "
            "ones: more of them belong to boys.",
        )
    )
    return blocks


def _traces(result: Popularity) -> list[str]:
    blocks = [
        "<h2>Did the sampler settle?</h2>",
        paragraph(
            "Each line is one imputation. With a single incomplete variable there is nothing to "
            "iterate between, and one iteration would do; ten are drawn to see that the "
            "sampler inside has settled: lines cross and go nowhere."
        ),
    ]
    for name in ("2l.norm", "2l.pan"):
        blocks.append(
            figure(
                plot_trace(result.imputations[name])[0, 0].figure,
                f"Mean, standard deviation and ICC along ten iterations, {name}: lines without "
                "trend.",
                f"<b>{name}</b>: mean and standard deviation of the imputed scores, and ICC of "
                "the completed variable, by iteration.",
            )
        )
    return blocks


def _closing(result: Popularity) -> list[str]:
    code = CODE.format(m=result.m, seed=result.seed)
    return closing(
        "Look at the ICC before and after. Impute with random effects when the analysis has "
        "them, and let the imputation model contain what the analysis will ask for, "
        "products included. The recommended strategy in full:",
        code,
        footer(result),
        "Data: J. Hox, <em>Multilevel Analysis</em>; scores removed by the authors of the R "
        "package mice. Results of the complete data, and the course of the case study: "
        "H. Oberman, J. Muñoz Avila, V. de Jong, G. Vink, T. Debray, <em>Imputation of "
        "incomplete multilevel data with mice</em>. On the models: S. van Buuren, "
        "<em>Flexible Imputation of Missing Data</em>, chapter 7 (2018); J. Schafer and "
        "R. Yucel, <em>Computational strategies for multivariate linear mixed-effects "
        "models with missing values</em> (2002).",
    )
