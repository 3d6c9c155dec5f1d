"""One self-contained HTML page: text, tables and figures in a single file.

Nothing is fetched when the page is read. Figures are SVG inside the page; their colours
are CSS variables, so that they follow a light or dark screen as the text does.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from string import Template
from typing import Any

from jaxmice.plots import FAINT, IMPUTED, INK, OBSERVED, SUPPORT

ON_DARK = {
    INK: "#d9dde4",
    FAINT: "#5a626e",
    OBSERVED: "#6fa8ec",
    IMPUTED: "#f07f74",
    SUPPORT: "#a3acba",
}
"""Colour of a figure -> what it becomes on a dark screen."""

LEGIBLE = 66
"""Pixels per inch of figure below which its text is too small: it scrolls instead."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #22262c; --soft: #5b6470;
  --line: #dde1e7; --panel: #f5f7f9; --accent: #1d5fae; }
@media (prefers-color-scheme: dark) { :root { --page: #16191d; --ink: #e4e7ec;
  --soft: #a0a8b4; --line: #333a43; --panel: #1f242a; --accent: #86b7f2; --bad: #f28b82;
  --good: #7fce9b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.1rem 4rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.2rem); line-height: 1.2; margin: 0 0 .6rem;
  letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .5rem; text-wrap: balance; }
p { margin: .7rem 0; }
.lead { font-size: 1.15rem; color: var(--soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
  gap: .6rem; margin: 1.6rem 0 0; padding: 0; list-style: none; }
.facts li { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem;
  font-size: .88rem; line-height: 1.35; color: var(--soft); }
.facts b { display: block; font-size: 1.35rem; color: var(--ink);
  font-variant-numeric: tabular-nums; }
figure { margin: 1.4rem 0; }
figure .scroll { margin: 0; }
figure img { display: block; width: 100%; height: auto; margin: 0 auto; }
figcaption, .note { font-size: .9rem; color: var(--soft); margin-top: .5rem; }
.scroll { overflow-x: auto; margin: 1.2rem 0; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .5rem .9rem .5rem 0;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
tbody th { color: var(--ink); white-space: nowrap; }
td small { display: block; color: var(--soft); white-space: nowrap; }
dl { margin: 1.2rem 0; }
dt { font-weight: 600; margin-top: 1rem; }
dd { margin: .15rem 0 0; }
@media (min-width: 40rem) {
  dl { display: grid; grid-template-columns: 10.5rem 1fr; gap: .7rem 1rem; }
  dt, dd { margin: 0; }
}
code, pre { font: .88em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { background: var(--panel); padding: .1em .3em; border-radius: .25em; }
pre { background: var(--panel); border-radius: .5rem; padding: .9rem 1rem; overflow-x: auto; }
dd code { display: inline-block; }
pre code { padding: 0; background: none; }
a { color: var(--accent); }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-size: .88rem; color: var(--soft); }
"""

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page(title: str, body: Iterable[str]) -> str:
    """Return the page with `title`; `body` is HTML, block by block."""
    return PAGE.substitute(title=html.escape(title), style=STYLE, body="\n".join(body))


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of HTML `text`, of a class of the style sheet if need be."""
    return f'<p class="{kind}">{text}</p>' if kind else f"<p>{text}</p>"


def facts(items: Iterable[tuple[str, str]]) -> str:
    """Return numbers with a caption each, side by side."""
    cells = "".join(f"<li><b>{number}</b>{caption}</li>" for number, caption in items)
    return f'<ul class="facts">{cells}</ul>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], label: str = "Table") -> str:
    """Return a table of HTML cells that scrolls sideways on a narrow screen.

    Parameters
    ----------
    header, rows
        HTML of the cells; the first cell of a row names it.
    label
        What screen readers call the part that scrolls.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def definitions(items: Iterable[tuple[str, str]]) -> str:
    """Return terms with their explanation."""
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in items) + "</dl>"


def figure(drawn: Any, alt: str, caption: str, width: float = 1.0) -> str:
    """Return a figure as part of the page.

    Parameters
    ----------
    drawn
        A `matplotlib.figure.Figure`.
    alt
        What it shows, for those who do not see it.
    caption
        HTML below it.
    width
        Largest width, as a share of the column of text.
    """
    picture = base64.b64encode(_svg(drawn).encode()).decode()
    least = LEGIBLE * drawn.get_figwidth()
    return (
        '<figure><div class="scroll" tabindex="0" role="region" aria-label="Figure">'
        f'<img src="data:image/svg+xml;base64,{picture}" alt="{html.escape(alt)}" '
        f'style="min-width: {least:.0f}px; max-width: {46 * width:.0f}rem"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _svg(drawn: Any) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    # A fixed salt and no date: the same numbers give the same file.
    with rc_context({"svg.hashsalt": "jaxmice", "svg.fonttype": "path"}):
        drawn.savefig(buffer, format="svg", transparent=True, dpi=150, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    names = {colour: f"--c{i}" for i, colour in enumerate(ON_DARK)}
    for colour, name in names.items():
        svg = re.sub(re.escape(colour), f"var({name})", svg, flags=re.IGNORECASE)
    light = "".join(f"{names[colour]}:{colour};" for colour in ON_DARK)
    dark = "".join(f"{names[colour]}:{other};" for colour, other in ON_DARK.items())
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    head, rest = svg.split(">", 1)
    return f"{head}>{style}{rest}"
