"""Formulas of analysis models with a random part."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from jaxmice.errors import AnalysisError
from jaxmice.formula import QUOTED, split_formula

CODE = "E58"
"""A formula that cannot be used."""

_NESTED = re.compile(
    rf"{QUOTED}|\(\s*1\s*\|\s*(?P<outer>[^\W\d]\w*)\s*/\s*(?P<inner>[^\W\d]\w*)\s*\)"
)


@dataclass(frozen=True)
class MixedFormula:
    """The parts of a formula.

    Attributes
    ----------
    text
        As given.
    outcome
        The left-hand side.
    fixed
        The right-hand side without the random part.
    random
        The random part left of the bar; empty for a formula without one.
    cluster
        The column right of the bar; empty for a formula without one.
    """

    text: str
    outcome: str
    fixed: str
    random: str = ""
    cluster: str = ""


@lru_cache(maxsize=256)
def parse_formula(text: str) -> MixedFormula:
    """Split a formula into outcome, fixed part, random part and grouping column.

    Parameters
    ----------
    text
        In the notation of lme4, with at most one random part.

    Raises
    ------
    AnalysisError
        E58: no outcome, several random parts, uncorrelated effects (``||``), or a
        grouping term that is not one column.
    """
    fail = partial(AnalysisError, CODE)
    if isinstance(text, str):
        _refuse_nested(text, fail)
    outcome, fixed, parts = split_formula(text, fail)
    outcome, fixed = as_python(outcome), as_python(fixed)
    if re.search(r"(?<![\w.`])\.(?!\w)", fixed):
        raise AnalysisError(CODE, f"formula {text!r}: '.' is not available; name the columns")
    if "-" in re.sub(r"\(.*\)|`[^`]*`", "", outcome):
        raise AnalysisError(CODE, f"formula {text!r}: write the outcome as I({outcome})")
    if len(parts) > 1:
        found = ", ".join(f"({part.effects} | {part.cluster})" for part in parts)
        raise AnalysisError(
            CODE,
            f"formula {text!r} has {len(parts)} random parts: {found}; the built-in mixed model "
            "takes one grouping column with one random part, so pass a function that fits the "
            "model with another package",
        )
    if not parts:
        return MixedFormula(text, outcome, fixed)
    return MixedFormula(text, outcome, fixed, as_python(parts[0].effects), parts[0].cluster)


def _refuse_nested(text: str, fail: Callable[[str], Exception]) -> None:
    """Answer intercepts of two levels by a function that fits them."""
    nested = next((found for found in _NESTED.finditer(text) if found["outer"]), None)
    if nested is None:
        return
    outer, inner = nested["outer"], nested["inner"]
    flat = f"{text[: nested.start()]}(1 | {outer}){text[nested.end() :]}"
    outcome, fixed, parts = split_formula(flat, fail)
    if len(parts) == 1:
        raise fail(
            f"formula {text!r} has effects of two levels; the built-in mixed model takes one "
            "grouping column, so pass a function that fits the model with another package, for "
            "example lambda data: statsmodels.formula.api.mixedlm("
            f"'{outcome} ~ {fixed}', data, groups={outer!r}, re_formula='1', "
            f"vc_formula={{{inner!r}: '0 + C({inner})'}}).fit()"
        )


def as_python(part: str) -> str:
    """Return a part of a formula with R's ``^`` as ``**``; to Python it is another operator."""
    return re.sub(rf"({QUOTED})|\^", lambda found: found[1] or "**", part)
