"""Parts of a page that compares imputation at random with a selection model."""

from collections.abc import Sequence

from jaxmice.plots import plot_estimates, plot_trace
from jaxmice.report._page import facts, figure, paragraph, table
from jaxmice.tutorials._common import estimates_table
from jaxmice.tutorials._selected import SELECTION, TRUTH, Selected


def opening(
    title: str, lead: str, items: Sequence[tuple[str, str]], text: str, formula: str
) -> list[str]:
    """Return the title, what the page is about, some numbers, and the model of interest."""
    return [
        f"<h1>{title}</h1>",
        paragraph(lead, "lead"),
        facts(items),
        paragraph(text),
        f"<pre><code>{formula}</code></pre>",
    ]


def estimates(result: Selected, terms: Sequence[str], fitted: str, alt: str) -> list[str]:
    """Return the figure and the table of estimates by strategy.

    `fitted` says how the model was fitted and what its coefficients are, `alt` what the figure
    of these terms shows.
    """
    truth = result.estimates.get(TRUTH)
    known = "" if truth is None else " Dashed line and band: the complete data."
    drawn = {name: found for name, found in result.estimates.items() if name != TRUTH}
    return [
        "<h2>What becomes of the estimates</h2>",
        paragraph(
            f"Each imputation makes {result.m} completed data sets; the model is fitted to each "
            f"{fitted}"
        ),
        figure(
            plot_estimates(drawn, terms=list(terms), reference=truth)[0].figure,
            alt,
            f"Estimates and 95% intervals.{known}",
        ),
        table(*estimates_table(result.estimates)),
    ]


def trace(result: Selected, variables: list[str], named: str, text: str) -> list[str]:
    """Return the trace of the selection model; `named` are the variables in words."""
    return [
        "<h2>Did the sampler settle?</h2>",
        paragraph(text),
        figure(
            plot_trace(result.imputations[SELECTION], variables)[0, 0].figure,
            f"Mean, standard deviation and ICC of {named} along ten iterations of the selection "
            "model.",
            "Mean and standard deviation of the imputed values, and ICC of the completed "
            "variable, by iteration. Each line is an imputation.",
        ),
    ]
