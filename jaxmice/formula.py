"""Formulas such as ``"popular ~ sex * texp + (1 + sex | school)"``, taken apart."""

import re
from collections.abc import Callable
from dataclasses import dataclass

QUOTED = r"`[^`]*`|'[^']*'|\"[^\"]*\""
"""Pattern of quoted names and strings."""

_NAME = re.compile(r"[^\W\d]\w*(\.\w+)*|`[^`]+`")


@dataclass(frozen=True)
class RandomPart:
    """Brackets with a bar: random effects and the column of their clusters."""

    effects: str
    cluster: str


def split_formula(
    text: object, fail: Callable[[str], Exception]
) -> tuple[str, str, tuple[RandomPart, ...]]:
    """Split a formula into left side, fixed part and random parts.

    Parameters
    ----------
    text
        In the notation of lme4.
    fail
        Makes the error to raise out of a message.
    """
    if not isinstance(text, str):
        raise fail(f"a formula must be text, got {type(text).__name__}")
    left, tilde, right = text.partition("~")
    left = left.strip()
    if not tilde or not left or not right.strip() or "~" in right:
        raise fail(f"formula {text!r} needs the form 'outcome ~ predictors'")
    if re.search(r"`\s*1\s*`", text):
        raise fail(f"formula {text!r}: a column named '1' would be the intercept; rename it")
    if "|" in _without_quotes(left):
        raise fail(f"formula {text!r}: a random part belongs right of the '~'")
    places = _brackets_with_bar(right)
    if not places and "|" in _without_quotes(right):
        raise fail(f"formula {text!r}: put the random part in brackets, as in '(1 + x | school)'")
    parts = tuple(_random_part(right[a + 1 : b - 1], text, fail) for a, b in places)
    ends = [0, *(b for _, b in places)]
    begins = [*(a for a, _ in places), len(right)]
    fixed, *rest = (right[a:b].strip() for a, b in zip(ends, begins, strict=True))
    for after in rest:
        fixed = _join(fixed, after, text, fail)
    return left, fixed or "1", parts


def _random_part(inside: str, text: str, fail: Callable[[str], Exception]) -> RandomPart:
    bar = _without_quotes(inside).index("|")
    effects, cluster = inside[:bar].strip(), inside[bar + 1 :].strip()
    if cluster.startswith("|"):
        raise fail(
            f"formula {text!r}: uncorrelated random effects ('||') are not available; use a "
            "single bar"
        )
    if not _NAME.fullmatch(cluster):
        raise fail(
            f"formula {text!r}: the part right of the bar must be one column, got {cluster!r}"
        )
    if not effects:
        raise fail(f"formula {text!r}: nothing left of the bar; write '(1 | ...)'")
    return RandomPart(effects, cluster.strip("`"))


def _without_quotes(text: str) -> str:
    """Blank out quoted names and strings, keeping the length."""
    return re.sub(QUOTED, lambda found: " " * len(found[0]), text)


def _brackets_with_bar(right: str) -> list[tuple[int, int]]:
    """Return where brackets with a bar of their own begin and end."""
    stack: list[tuple[int, bool]] = []
    found: list[tuple[int, int]] = []
    for at, sign in enumerate(_without_quotes(right)):
        if sign in "([{":
            stack.append((at, False))
        elif sign == "|" and stack:
            stack[-1] = (stack[-1][0], True)
        elif sign in ")]}" and stack:
            start, bar = stack.pop()
            if bar:
                found.append((start, at + 1))
    return found


def _join(before: str, after: str, text: object, fail: Callable[[str], Exception]) -> str:
    """Return what stands around a random part, without the plus sign that joined it."""
    if (before and not before.endswith("+")) or (after and after[0] not in "+-"):
        raise fail(f"formula {text!r}: join the random part by '+'")
    rest = f"{before.removesuffix('+').strip()} {after}".strip()
    return rest.removeprefix("+").strip()
