"""Formulas with a random part, such as ``"popular ~ sex * texp + (1 + sex | school)"``."""

import re
from dataclasses import dataclass
from functools import lru_cache

from jaxmice.errors import AnalysisError

CODE = "E58"
"""A formula that cannot be used."""

_NAME = re.compile(r"[^\W\d]\w*(\.\w+)*|`[^`]+`")


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
    if not isinstance(text, str):
        raise AnalysisError(CODE, f"a formula must be text, got {type(text).__name__}")
    outcome, tilde, right = text.partition("~")
    outcome = outcome.strip()
    if not tilde or not outcome or not right.strip() or "~" in right:
        raise AnalysisError(CODE, f"formula {text!r} needs the form 'outcome ~ predictors'")
    if "|" in outcome:
        raise AnalysisError(CODE, f"formula {text!r}: a random part belongs right of the '~'")
    parts = _random_parts(right)
    if not parts:
        if "|" in _without_quotes(right):
            raise AnalysisError(
                CODE,
                f"formula {text!r}: put the random part in brackets, as in '(1 + x | school)'",
            )
        return MixedFormula(text, outcome, right.strip())
    if len(parts) > 1:
        found = ", ".join(right[a:b] for a, b in parts)
        raise AnalysisError(
            CODE,
            f"formula {text!r} has {len(parts)} random parts: {found}; the built-in mixed model "
            "takes one grouping column with one random part, so pass a function that fits the "
            "model with another package",
        )
    first, last = parts[0]
    random, _, cluster = right[first + 1 : last - 1].partition("|")
    if "|" in cluster:
        raise AnalysisError(
            CODE,
            f"formula {text!r}: uncorrelated random effects ('||') are not available; use a "
            "single bar, or pass a function that fits the model with another package",
        )
    random, cluster = random.strip(), cluster.strip()
    if not _NAME.fullmatch(cluster):
        raise AnalysisError(
            CODE,
            f"formula {text!r}: the part right of the bar must be one column, got {cluster!r}",
        )
    if not random:
        raise AnalysisError(CODE, f"formula {text!r}: nothing left of the bar; write '(1 | ...)'")
    fixed = _join(text, right[:first], right[last:])
    return MixedFormula(text, outcome, fixed, random, cluster.strip("`"))


def _without_quotes(text: str) -> str:
    """Blank out quoted names and strings, keeping the length."""
    return re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", lambda found: " " * len(found[0]), text)


def _random_parts(right: str) -> list[tuple[int, int]]:
    """Return where brackets with a bar of their own begin and end."""
    text = _without_quotes(right)
    stack: list[tuple[int, bool]] = []
    found: list[tuple[int, int]] = []
    for at, sign in enumerate(text):
        if sign in "([{":
            stack.append((at, False))
        elif sign == "|" and stack:
            stack[-1] = (stack[-1][0], True)
        elif sign in ")]}" and stack:
            start, bar = stack.pop()
            if bar:
                found.append((start, at + 1))
    return found


def _join(text: str, before: str, after: str) -> str:
    """Take out the random part together with the plus sign that joined it."""
    before, after = before.strip(), after.strip()
    if before and not before.endswith("+"):
        raise AnalysisError(CODE, f"formula {text!r}: join the random part by '+'")
    if after and after[0] not in "+-":
        raise AnalysisError(CODE, f"formula {text!r}: join the random part by '+'")
    rest = f"{before.removesuffix('+').strip()} {after}".strip()
    return rest.removeprefix("+").strip() or "1"
