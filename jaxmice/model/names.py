"""Complaints and warnings of the set-up."""

from collections.abc import Iterable

from jaxmice.errors import ModelError
from jaxmice.wording import near, raise_all, some, warn_user


class Complaints:
    """Collects complaints, so that one call of the set-up shows them all."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, code: str, message: str) -> None:
        """Note one complaint; the same one is kept once."""
        if (code, message) not in self._found:
            self._found.append((code, message))

    def raise_any(self) -> None:
        """Raise all complaints as one `ModelError` under the code of the first."""
        raise_all(self._found, ModelError)


def check_names(names: Iterable[object], known: Iterable[str], code: str, what: str) -> None:
    """Raise a `ModelError` if a name is not among the known ones.

    Parameters
    ----------
    what
        How the message describes wrong names, such as ``"blocks: {} not in data"``.
    """
    known = list(known)
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ModelError(code, f"{what.format(some(wrong))}; {near(wrong[0], known)}")


def warn(code: str, message: str) -> None:
    """Warn the user of the package."""
    warn_user(f"{code}: {message}")
