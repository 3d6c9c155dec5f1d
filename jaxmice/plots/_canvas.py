"""Colours, axes and finishing touches that all figures share.

Figures are made from `matplotlib.figure.Figure`, never through pyplot, so that drawing
changes no global state and needs no display.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OBSERVED = "#2a6ebb"
"""Observed values, wherever they are drawn."""
IMPUTED = "#c8362e"
"""Imputed and missing values, wherever they are drawn."""
INK = "#30343b"
"""Text and axes."""
FAINT = "#b9bfc9"
"""Grid lines and everything that stands back."""
SUPPORT = "#7a8290"
"""References: complete data, true values."""

LETTER = 0.075
"""Inches that a letter of a tick label takes."""
LINE = 0.125
"""Inches that a line of tick labels takes."""
STEPS = (1, 2, 5, *(10**power * k for power in range(1, 6) for k in (1, 2, 5)))
"""Every how many slots are named."""


def single(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    """Return `ax`, or the only axes of a new figure of `size` inches."""
    return ax if ax is not None else grid(None, (1, 1), size)[0, 0]


def grid(
    ax: Any,
    shape: tuple[int, int],
    size: tuple[float, float],
    *,
    sharex: bool | Literal["row", "col"] = False,
    sharey: bool | Literal["row", "col"] = False,
) -> np.ndarray:
    """Return `ax` as an array of `shape`, or the axes of a new figure of `size` inches.

    Raises
    ------
    ValueError
        `ax` does not hold as many axes as the figure has panels.
    """
    if ax is None:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.07))
        return figure.subplots(*shape, squeeze=False, sharex=sharex, sharey=sharey)
    axes = np.array(ax, dtype=object)
    wanted = shape[0] * shape[1]
    if axes.size != wanted:
        raise ValueError(f"this figure has {wanted} panels, ax= holds {axes.size}")
    return axes.reshape(shape)


def tidy(ax: "Axes", *, lines: Literal["x", "y", "both"] | None = None, frame: bool = True) -> None:
    """Give `ax` the common look, with grid `lines` across one axis or both."""
    ax.spines[["top", "right"]].set_visible(False)
    if not frame:
        ax.spines[["left", "bottom"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(color=FAINT, labelcolor=INK, labelsize=9, length=3)
    for text in (ax.xaxis.label, ax.yaxis.label):
        text.set(color=INK, fontsize=9.5)
    ax.title.set(color=INK, fontsize=10)
    ax.set_axisbelow(True)
    if lines:
        ax.grid(True, axis=lines, color=FAINT, linewidth=0.5, alpha=0.6)


def plain(ax: Any) -> None:
    """Strip a secondary axis down to its text."""
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelcolor=INK, labelsize=9)
    for text in (ax.xaxis.label, ax.yaxis.label):
        text.set(color=INK, fontsize=9.5)


def legend(ax: Any, **options: Any) -> None:
    """Add a legend to axes or a figure: without a frame, in the colour of the text."""
    ax.legend(frameon=False, labelcolor=INK, fontsize=9, **options)


def room(ax: Any, axis: Literal["x", "y"], n: int) -> float:
    """Return the inches that each of n slots along an axis has, about."""
    box = ax.get_window_extent()
    return (box.width if axis == "x" else box.height) / ax.figure.dpi / max(n, 1)


def name_ticks(
    ax: Any, axis: Literal["x", "y"], names: Sequence[Any], *, upright: bool | None = None
) -> None:
    """Name n slots along an axis: upright where names are too long, some where slots are thin.

    Parameters
    ----------
    ax
        Axes, or a secondary axis, of final size.
    axis
        ``"x"`` or ``"y"``.
    names
        (n,) names of the slots at 0, 1, ..., n - 1.
    upright
        Turn names below or above a figure; by default where they would overlap.
    """
    slot, texts = room(ax, axis, len(names)), [str(name) for name in names]
    if upright is None:
        upright = axis == "x" and max(map(len, texts), default=0) * LETTER + 0.05 > slot
    # Of very thin slots every so many is named, in round steps.
    step = 1 if axis == "x" and not upright else next(k for k in STEPS if k * slot > LINE)
    shown = range(0, len(texts), step)
    options: dict[str, Any] = {"rotation": 90} if upright and axis == "x" else {}
    setter = ax.set_xticks if axis == "x" else ax.set_yticks
    setter(shown, [texts[i] for i in shown], **options)


def jitter(n: int) -> np.ndarray:
    """Spread n points evenly over (-0.5, 0.5), neighbours far apart, the same every time."""
    golden = (5**0.5 - 1) / 2
    return (np.arange(n) * golden) % 1 - 0.5
