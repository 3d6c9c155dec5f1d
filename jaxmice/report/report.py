"""What an imputation did, for those who have to judge it."""

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.files import replacing
from jaxmice.missingness import cluster_missing
from jaxmice.plots import plot_cluster_miss, plot_density, plot_pattern, plot_trace
from jaxmice.pooling import PooledResults, pool
from jaxmice.report._page import definitions, facts, figure, page, paragraph, table

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

PATTERNS = 12
"""Patterns of missing cells that are drawn; rarer ones are left out, and the page says so."""
COLUMNS = 12
"""Columns whose distributions are drawn, those that differ most."""
CLUSTERS = 200
"""Clusters up to which shares of missing cells are drawn one by one."""
ROUNDING = 1e-10
"""What is smaller is shown as zero."""
ITERATIONS = 4
"""Iterations from which convergence can be judged."""


def report(imp: "ImputedData", path: Any, pooled: Any = None, title: str = "Imputation") -> None:
    """See `ImputedData.report`."""
    if pooled is not None and not isinstance(pooled, PooledResults):
        pooled = pool(pooled)
    body = [
        *_opening(imp, title),
        *_model(imp),
        *_missing(imp),
        *_convergence(imp),
        *_plausibility(imp),
        *_events(imp),
        *([] if pooled is None else _pooled(pooled)),
        *_closing(imp),
    ]
    with replacing(path) as part:
        part.write_text(page(title, body), encoding="utf-8")


def _opening(imp: "ImputedData", title: str) -> list[str]:
    cells = int(sum(len(rows) for rows in imp.imp.values()))
    items = [(f"{len(imp.data):,}", "rows"), (f"{cells:,}", "imputed cells")]
    clusters = imp.model.frame.clusters
    if clusters:
        items.insert(1, (f"{clusters.J:,}", f"clusters ({html.escape(clusters.name)})"))
    items += [(str(imp.m), "imputations"), (str(imp.iteration), "iterations")]
    return [f"<h1>{html.escape(title)}</h1>", facts(items)]


def _model(imp: "ImputedData") -> list[str]:
    items = []
    for target, method, cluster, random, fixed, means in imp.model.rows():
        parts = [f"by <code>{html.escape(method)}</code>"]
        if random:
            parts.append(f"random effects of {_names(random)} by {_names(cluster)}")
        elif cluster:
            parts.append(f"clusters {_names(cluster)}")
        if fixed:
            parts.append(f"fixed effects of {_names(fixed)}")
        if means:
            parts.append(f"cluster means of {_names(means)}")
        items.append((html.escape(target), "; ".join(parts)))
    return [
        "<h2>How it was imputed</h2>",
        paragraph(
            "Each variable in turn was drawn from a model given the others, in the order below, "
            f"{imp.iteration} times over."
        ),
        definitions(items) if items else paragraph("Nothing was imputed."),
    ]


def _names(listed: str) -> str:
    words = ["the intercept" if name == "1" else name for name in listed.split(", ")]
    return html.escape(", ".join(words))


def _missing(imp: "ImputedData") -> list[str]:
    data, clusters = imp.data, imp.model.frame.clusters
    missing = data.isna()
    rows = [
        [html.escape(str(name)), f"{count:,}", f"{count / len(data):.1%}"]
        for name, count in missing.sum().items()
        if count
    ]
    patterns = len(missing.drop_duplicates())
    shown = "" if patterns <= PATTERNS else f"; the {PATTERNS} most frequent of {patterns:,}"
    complete = int((~missing.any(axis=1)).sum())
    blocks = ["<h2>What was missing</h2>"]
    if not rows:
        return [*blocks, paragraph("Nothing.")]
    blocks += [
        table(["", "missing", "share"], rows, "Missing cells by column"),
        figure(
            plot_pattern(data, npat=min(PATTERNS, patterns)).figure,
            f"Patterns of missing cells: {complete:,} of {len(data):,} rows are complete.",
            f"Patterns of observed (blue) and missing (red) cells{shown}. "
            f"{complete:,} of {len(data):,} rows are complete.",
        ),
    ]
    if clusters and not data[clusters.name].isna().any():
        blocks += _by_cluster(data, clusters.name)
    return blocks


def _by_cluster(data: pd.DataFrame, cluster: str) -> list[str]:
    found = cluster_missing(data, cluster)
    incomplete = found.summary[found.summary["share"] > 0]
    rows = [
        [
            html.escape(str(name)),
            *(f"{row[kind]:,.0f}" for kind in ("complete", "sporadic", "systematic")),
            f"{row['smallest']:.0%} to {row['largest']:.0%}",
        ]
        for name, row in incomplete.iterrows()
    ]
    blocks = [
        "<h3>By cluster</h3>",
        paragraph(
            "A variable is missing sporadically in a cluster that has some of its values, and "
            "systematically in one that has none."
        ),
        table(
            ["", "clusters complete", "sporadic", "systematic", "share missing"],
            rows,
            "Missing cells by cluster",
        ),
    ]
    if len(found.by_cluster) > CLUSTERS:
        return blocks
    systematic = int(incomplete["systematic"].sum())
    named = [str(name) for name in incomplete.index]
    drawn = plot_cluster_miss(data[[cluster, *named]], cluster)
    return [
        *blocks,
        figure(
            drawn.figure,
            f"Share of missing cells by cluster and variable; {systematic:,} combinations lack "
            "all values.",
            "Share of missing cells in each cluster; hatched where all are missing.",
            0.75,
        ),
    ]


def _convergence(imp: "ImputedData") -> list[str]:
    blocks = ["<h2>Did the chains settle?</h2>"]
    if not imp.iteration or not imp.variables:
        return [*blocks, paragraph("No iterations were made: these are starting values.")]
    blocks.append(
        paragraph(
            "Each line is one imputation. Lines that cross and go nowhere are what settled "
            "chains look like."
        )
    )
    told = f"R-hat needs {ITERATIONS} iterations and 2 imputations."
    if imp.iteration >= ITERATIONS and imp.m > 1:
        verdicts = imp.converged()
        rows = [
            [
                html.escape(str(row["variable"])),
                _number(row["rhat"]),
                _number(row["ac"]),
                html.escape(str(row["verdict"])),
            ]
            for _, row in verdicts.iterrows()
        ]
        head = ["", "R-hat", "autocorrelation", "verdict"]
        blocks.append(table(head, rows, "Convergence by variable"))
        told = (
            "R-hat near 1 says that imputations agree. The verdict is advice: results are often "
            "sound after 5 to 10 iterations, before it is favourable."
        )
    blocks.append(
        figure(
            plot_trace(imp)[0, 0].figure,
            f"Statistics of the imputed values of {', '.join(map(str, imp.variables))} along "
            f"{imp.iteration} iterations, one line for each of {imp.m} imputations.",
            told,
        )
    )
    return blocks


def _plausibility(imp: "ImputedData") -> list[str]:
    blocks = ["<h2>Observed against imputed</h2>"]
    found = imp.compare()
    if found.empty:
        return [*blocks, paragraph("There is nothing to compare.")]
    clustered = [name for name in ("icc_observed", "icc_completed") if name in found]
    rows = []
    for _, row in found.iterrows():
        name = " = ".join(str(part) for part in (row["variable"], row["category"]) if part)
        means = [_number(row[f"mean_{kind}"]) for kind in ("observed", "imputed")]
        spreads = [_number(row[f"sd_{kind}"]) for kind in ("observed", "imputed")]
        iccs = [_number(row[name]) for name in clustered]
        rows.append([html.escape(name), *means, *spreads, _number(row["std_diff"]), *iccs])
    header = ["", "mean observed", "imputed", "sd observed", "imputed", "difference"]
    header += ["ICC observed", "ICC completed"][: len(clustered)]
    blocks += [
        paragraph(
            "Imputed values should look like values that could have been observed; their means "
            "may differ where the missing rows differ. The difference is in standard deviations. "
            "For categories the mean is a share."
            + (
                " The ICC is the share of variance between clusters, of observed values and after "
                "imputation."
                if clustered
                else ""
            )
        ),
        table(header, rows, "Observed and imputed values"),
    ]
    return blocks + _densities(imp, found)


def _densities(imp: "ImputedData", found: pd.DataFrame) -> list[str]:
    numeric = found[
        (found["category"].astype(str) == "") & (found["n_observed"] > 1) & (found["n_imputed"] > 1)
    ]
    ordered = numeric.reindex(numeric["std_diff"].abs().sort_values(ascending=False).index)
    names = [
        name
        for name in ordered["variable"]
        if pd.api.types.is_numeric_dtype(imp.data[name]) and imp.data[name].nunique() > 1
    ]
    blocks = []
    if len(names) > COLUMNS:
        blocks.append(
            paragraph(f"Drawn are the {COLUMNS} of {len(names)} variables that differ most.")
        )
    for name in names[:COLUMNS]:
        blocks += [
            f"<h3>{html.escape(str(name))}</h3>",
            figure(
                plot_density(imp, name).figure,
                f"Densities of observed and imputed values of {name}.",
                "Observed values (blue) and each imputation (red).",
                0.75,
            ),
        ]
    return blocks


def _events(imp: "ImputedData") -> list[str]:
    events = imp.logged_events
    blocks = ["<h2>What the software did on its own</h2>"]
    if events.empty:
        return [*blocks, paragraph("Nothing.")]
    counted = events.groupby(["event", "level", "dep", "message"], sort=False).size().reset_index()
    rows = [[html.escape(str(cell)) for cell in row] for row in counted.to_numpy().tolist()]
    head = ["event", "kind", "variable", "what happened", "times"]
    return [*blocks, table(head, rows, "Logged events")]


def _pooled(pooled: PooledResults) -> list[str]:
    rows = [
        [
            html.escape(str(row["term"])),
            _number(row["estimate"]),
            _number(row["std.error"]),
            _interval(row),
            "&lt; 0.001" if row["p.value"] < 0.001 else f"{row['p.value']:.3f}",
            _number(row["fmi"]),
        ]
        for _, row in pooled.summary(type="all").iterrows()
    ]
    head = ["", "estimate", "standard error", "95% interval", "p", "missing information"]
    blocks = [
        "<h2>Pooled results</h2>",
        paragraph(f"By Rubin's rules over {pooled.m} imputations."),
        table(head, rows, "Pooled coefficients"),
    ]
    if len(pooled.extra):
        parts = [
            [
                html.escape(str(row["term"])),
                _number(row["estimate"]),
                _interval(row),
            ]
            for _, row in pooled.extra.iterrows()
        ]
        blocks.append(table(["", "estimate", "95% interval"], parts, "Variance components"))
    return blocks


def _closing(imp: "ImputedData") -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in imp.info["versions"].items())
    text = f"Seed {imp.info['seed']}; {imp.info['precision']} on {imp.info['device']}; {versions}."
    return ["<footer>", paragraph(html.escape(text)), "</footer>"]


def _interval(row: pd.Series) -> str:
    # Not broken over lines.
    return f"{_number(row['conf.low'])} to {_number(row['conf.high'])}".replace(" ", "&nbsp;")


def _number(value: Any) -> str:
    """Return a number with three digits that count; a dash where there is none."""
    value = float(value)
    if not np.isfinite(value):
        return "–"
    # Rounding errors of centred columns are zero.
    value = 0.0 if abs(value) < ROUNDING else value
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
