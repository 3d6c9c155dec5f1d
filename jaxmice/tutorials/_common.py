"""What the case studies share: their data, their folder, and phrases of their pages."""

import html
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxmice.errors import DataError
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
