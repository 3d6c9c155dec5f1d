"""What the case studies share: their data, their folder, and phrases of their pages."""

import html
import platform
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.report._page import paragraph
from jaxmice.tutorials import TUTORIALS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_folder(out: Path | str) -> Path:
    """Return the folder to write to, made if need be.

    Called first: that a folder cannot be written should come out before the work, not after.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def announced(name: str) -> Iterator[None]:
    """Say on the error stream how long a step took, once it is done."""
    began = time.perf_counter()
    yield
    print(f"{name:16} {time.perf_counter() - began:6.1f} s", file=sys.stderr)


def show(table: str, findings: Mapping[str, str]) -> None:
    """Print the table of a case study, and what it found."""
    print(table)
    print()
    for name, finding in findings.items():
        print(f"{name}: {finding}")


def save(path: Path, page: str, footer: str) -> None:
    """Write the page, and print the line on time and versions and where the page is."""
    path.write_text(page, encoding="utf-8")
    print(f"\n{footer}\nPage: {path}")


def read_own(name: str, path: Path | str) -> pd.DataFrame:
    """Read a file of the user's for the tutorial `name`: the columns it uses.

    Raises
    ------
    DataError
        E12: columns are missing, all of which are named.
    """
    from jaxmice.exchange import read_data

    data = read_data(Path(path))
    columns = list(TUTORIALS[name].columns)
    missing = [column for column in columns if column not in data]
    if missing:
        raise DataError(
            "E12",
            f"{Path(path).name} has no column {', '.join(missing)}; "
            f"tutorial {name} needs {', '.join(columns)}",
        )
    return data[columns]


def with_categories(data: pd.DataFrame) -> pd.DataFrame:
    """Return the data with text as categories, which is what text is taken for anyway."""
    text = data.select_dtypes(exclude=["number", "bool", "category"])
    return data.assign(**{name: text[name].astype("category") for name in text})


def closing(summary: str, code: str, footer: str, sources: str) -> list[str]:
    """Return the end of a page: what to remember, the program, versions and sources.

    `summary` and `sources` are HTML, `code` and `footer` text.
    """
    return [
        "<h2>What to take away</h2>",
        paragraph(summary),
        f"<pre><code>{html.escape(code)}</code></pre>",
        "<footer>",
        paragraph(html.escape(footer) + "."),
        paragraph(sources),
        "</footer>",
    ]


def versions(seconds: float, work: str, m: int, seed: int) -> str:
    """Return the line on time and versions; `work` says what the time was spent on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("jaxmice", "jax", "pandas"))
    return (
        f"{seconds:.1f} s for {work}, m = {m}, seed {seed}, compilation included; "
        f"{packages}, Python {platform.python_version()}"
    )


def drawn(ax: Any) -> "Figure":
    """Return the figure of some axes."""
    figure: Figure = ax.figure
    return figure


def sentence(text: str) -> str:
    """Return the text as HTML that begins a sentence."""
    return html.escape(text[0].upper() + text[1:])


def interval(value: float, low: float, high: float, digits: int = 3) -> tuple[str, str]:
    """Return an estimate and its interval as text, signs aligned."""
    return f"{value:.{digits}f}", f"[{low:.{digits}f}, {high:.{digits}f}]"


def stacked(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return an estimate with its interval below it, as the HTML of a cell."""
    above, below = interval(value, low, high, digits)
    return f"{above}<small>{below}</small>"


def cell(row: Iterable[Any], digits: int = 3) -> str:
    """Return an estimate, and the ends of its interval, as the HTML of a cell."""
    value, low, high = (float(number) for number in row)
    return stacked(value, low, high, digits)


def fit(source: Any, formula: str, **options: Any) -> pd.DataFrame:
    """Return pooled estimates from an imputation, or from the complete rows of a frame.

    Parameters
    ----------
    source
        A data frame, or an `ImputedData`.
    formula, options
        For `jaxmice.analyze`.
    """
    import jaxmice as jm

    with warnings.catch_warnings():
        # Few clusters: but what is shown are effects of what varies inside them.
        warnings.filterwarnings("ignore", "W28", JaxMiceWarning)
        if isinstance(source, pd.DataFrame):
            pooled = jm.complete_case(source, formula, **options)
        else:
            pooled = jm.pool(source.analyze(formula, **options))
    return pooled.summary()


def only_term(tables: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """Return estimate, conf.low and conf.high of a term, or of its second category, by table."""
    rows = {}
    for key, table in tables.items():
        row = table[table["term"].str.startswith(name)].iloc[0]
        rows[key] = row[["estimate", "conf.low", "conf.high"]].astype(float)
    return pd.DataFrame(rows).T


def pool_parts(
    frames: Sequence[pd.DataFrame],
    cluster: str,
    column: str,
    parts: Mapping[Any, Sequence[Any]],
) -> pd.DataFrame:
    """Return means, or shares of a column of 0 and 1, pooled over completed data sets.

    Parameters
    ----------
    frames
        Completed data sets, or a single frame without missing values in the column.
    cluster, column
        Their columns.
    parts
        Name -> clusters that belong to it; parts without any row are left out.

    Returns
    -------
    pandas.DataFrame
        estimate, conf.low, conf.high (95%) by part.
    """
    from jaxmice.pooling import pool_quantity

    rows = {}
    for part, clusters in parts.items():
        values = [f.loc[f[cluster].isin(clusters), column].astype(float) for f in frames]
        n = len(values[0])
        if n < 2:
            continue
        # A single frame counts twice: pooling needs two, and two alike add nothing.
        values = values * (1 + (len(values) == 1))
        q = [float(v.mean()) for v in values]
        if set(values[0]) <= {0.0, 1.0}:
            pooled = pool_quantity("proportion", q, n=n, method="wilson")
        else:
            pooled = pool_quantity("mean", q, [float(v.var()) / n for v in values])
        rows[part] = (pooled.estimate, *pooled.interval())
    return pd.DataFrame.from_dict(rows, "index", columns=["estimate", "conf.low", "conf.high"])


def points(difference: float, unit: str, digits: int = 1) -> str:
    """Return how far a number is from another in words, such as ``"1.2 kg below"``."""
    side = "above" if difference > 0 else "below"
    return f"{abs(difference):.{digits}f} {unit} {side}"


def shift_between(shifts: pd.DataFrame, wanted: float) -> float | None:
    """Return the shift, between those imputed, that gives an estimate, if one does."""
    inside = shifts["estimate"].min() <= wanted <= shifts["estimate"].max()
    if not inside:
        return None
    ordered = shifts.sort_values("estimate")
    return float(np.interp(wanted, ordered["estimate"], ordered.index.to_numpy(float)))


def plot_by_cluster(
    tables: Mapping[str, pd.DataFrame], label: str, reference: pd.DataFrame | None
) -> "Figure":
    """Draw an estimate of every cluster by strategy, with intervals.

    Parameters
    ----------
    tables
        Strategy -> estimate, conf.low, conf.high by cluster; at most three, of which the last
        has all clusters.
    label
        Of the axis of the estimates.
    reference
        Estimates from complete data, where they are known.
    """
    from jaxmice.plots import IMPUTED, INK, OBSERVED, SUPPORT
    from jaxmice.plots._canvas import legend, single, tidy

    clusters = list(list(tables.values())[-1].index)
    ax = single(None, (6.2, 0.42 * len(clusters) + 1.1))
    rows = np.arange(len(clusters))
    looks = zip("osD", (OBSERVED, INK, IMPUTED), strict=True)
    for k, ((name, table), (marker, colour)) in enumerate(zip(tables.items(), looks, strict=False)):
        table = table.reindex(clusters)
        at = rows + 0.24 * (k - 1)
        ax.hlines(at, table["conf.low"], table["conf.high"], color=colour, linewidth=1.4)
        ax.plot(table["estimate"], at, marker, color=colour, markersize=4.5, label=name)
    if reference is not None:
        known = reference.loc[clusters, "estimate"]
        ax.vlines(known, rows - 0.42, rows + 0.42, color=SUPPORT, linewidth=2, linestyle=":",
                  label="complete data")  # fmt: skip
    ax.set_yticks(rows, [str(cluster) for cluster in clusters])
    ax.set_ylim(len(clusters) - 0.5, -0.5)
    ax.set_xlabel(label)
    tidy(ax, lines="x")
    legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, handletextpad=0.4)
    return drawn(ax)


def plot_shifts(shifts: pd.DataFrame, label: str, lines: Mapping[str, float]) -> "Figure":
    """Draw an estimate by shift, with horizontal lines at what other strategies find.

    Parameters
    ----------
    shifts
        estimate, conf.low, conf.high by shift.
    label
        Of the estimate.
    lines
        Name -> estimate.
    """
    from jaxmice.plots import INK, SUPPORT, plot_sensitivity

    table = shifts.rename_axis("delta").reset_index().assign(term=label)
    ax = plot_sensitivity(table, label)
    for (name, value), style in zip(lines.items(), ("--", ":"), strict=False):
        ax.axhline(value, color=SUPPORT, linewidth=1.3, linestyle=style)
        ax.text(1.01, value, name, transform=ax.get_yaxis_transform(), va="center", color=INK,
                fontsize=8.5)  # fmt: skip
    return drawn(ax)


def estimates_table(
    estimates: Mapping[str, pd.DataFrame], digits: int = 3
) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of a table with a row per strategy and a column per term."""
    terms = list(next(iter(estimates.values()))["term"])
    rows = []
    for name, table in estimates.items():
        numbers = table.set_index("term").loc[terms, ["estimate", "conf.low", "conf.high"]]
        rows.append([name, *(cell(row, digits) for row in numbers.to_numpy())])
    return ["", *map(html.escape, terms)], rows
