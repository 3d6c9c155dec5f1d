"""What the case studies share that compare imputation at random with a selection model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxmice.tutorials._common import announced, fit, interval

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData
    from jaxmice.sensitivity import DeltaAdjustment

CASES, AT_RANDOM, SELECTION = "complete cases", "at random", "selection"
TRUTH = "complete data"

Levels = Callable[[Sequence[pd.DataFrame]], pd.DataFrame]
"""Makes estimate, conf.low, conf.high by part of the data from completed data sets."""


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What such a case study found.

    Attributes
    ----------
    data
        The incomplete data.
    complete
        The same before values were removed, or None for a file of the user's.
    imputations
        Strategy -> imputation; without the complete cases.
    estimates
        Strategy -> coefficients: term, estimate, conf.low, conf.high (95%).
    restriction
        Association with being observed, and with what is observed, of the variable that only
        selects: estimate, conf.low, conf.high.
    shifts
        What is estimated of all, by shift of the missing values: estimate, conf.low, conf.high.
    m, seed, seconds
        Number of imputations, seed, and wall time of imputing and analysing.
    """

    data: pd.DataFrame
    complete: pd.DataFrame | None
    imputations: "dict[str, ImputedData]"
    estimates: dict[str, pd.DataFrame]
    restriction: pd.DataFrame
    shifts: pd.DataFrame
    m: int
    seed: int
    seconds: float


def by_strategy(
    data: pd.DataFrame,
    complete: pd.DataFrame | None,
    impute: "Callable[[str], ImputedData]",
    formula: str,
    outcome: str,
    levels: Levels,
    **options: Any,
) -> "tuple[dict[str, ImputedData], dict[str, pd.DataFrame], dict[str, pd.DataFrame]]":
    """Impute and analyse with every strategy; each is announced on the error stream.

    Parameters
    ----------
    data, complete
        The incomplete data; the complete ones, if known.
    impute
        Imputes by the strategy of this name.
    formula, options
        Model of interest, for `jaxmice.analyze`.
    outcome
        Column of which levels are found.
    levels
        How they are.

    Returns
    -------
    tuple of dict
        Imputations, estimates and levels by strategy.
    """
    imputations, estimates, found = {}, {}, {}
    for name, frame in {TRUTH: complete, CASES: data}.items():
        if frame is not None:
            estimates[name] = fit(frame, formula, **options)
            found[name] = levels([frame.dropna(subset=[outcome])])
    for name in (AT_RANDOM, SELECTION):
        with announced(name):
            imp = impute(name)
            estimates[name] = fit(imp, formula, **options)
            found[name] = levels(list(imp.complete("all").values()))
        imputations[name] = imp
    return imputations, estimates, found


def by_shift(shifted: "DeltaAdjustment", levels: Levels, part: str) -> pd.DataFrame:
    """Return the level of one part of the data by shift."""
    rows = [levels(list(imp.complete("all").values())).loc[part] for imp in shifted.imputations]
    return pd.DataFrame(rows, index=pd.Index(shifted.deltas, name="delta"))


def level_lines(levels: Mapping[str, pd.DataFrame], head: str, scale: float = 1.0) -> list[str]:
    """Return levels by part, times `scale`, with 95% intervals, as lines of text."""
    lines = [f"{head:10}" + "".join(f"{name:22}" for name in levels)]
    for part in levels[SELECTION].index:
        texts = (
            _text(scale * table.loc[part]) if part in table.index else "-"
            for table in levels.values()
        )
        lines.append(f"{part!s:10}" + "".join(f"{text:22}" for text in texts))
    return [line.rstrip() for line in lines]


def _text(row: pd.Series) -> str:
    value, low, high = (float(number) for number in row)
    return " ".join(interval(value, low, high, 1))


def shift_found(at: float | None, unit: str, what: str) -> str:
    """Say which shift gives the estimate of the selection model; `unit` has its format."""
    given = "no shift of the grid" if at is None else f"a shift of {unit.format(at)}"
    return f"{given} gives the {what} of the selection model."
