"""Builders of roles: ``role.cluster("school") + role.random("sex") + role.fixed("texp")``.

A role says how a column enters the imputation model of a target. Builders take any number
of columns and are combined with ``+``; roles of the same column add up, so
``random("sex") + mean("sex")`` is a random slope plus the cluster mean of ``sex``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

BUILDERS = ("cluster", "fixed", "random", "mean", "latent_mean", "selection", "outcome")


@dataclass(frozen=True, repr=False)
class Roles:
    """Roles of columns, in the order in which they were named.

    Parameters
    ----------
    entries
        Pairs of a column and the name of one role.
    """

    entries: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: "Roles") -> "Roles":
        if not isinstance(other, Roles):
            return NotImplemented
        return Roles(self.entries + other.entries)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the columns, each once."""
        return iter(dict.fromkeys(column for column, _ in self.entries))

    def of(self, column: str) -> str:
        """Return the roles of one column in words, such as ``"random+mean"``."""
        names = dict.fromkeys(role for name, role in self.entries if name == column)
        return "+".join(names) or "none"

    def __repr__(self) -> str:
        parts = []
        for role in BUILDERS:
            columns = dict.fromkeys(column for column, name in self.entries if name == role)
            if columns:
                parts.append(f"role.{role}({', '.join(map(repr, columns))})")
        return " + ".join(parts) or "role.fixed()"


def cluster(*columns: str) -> Roles:
    """Mark the column that holds the cluster ids (code -2)."""
    return _roles("cluster", columns)


def fixed(*columns: str) -> Roles:
    """Predictors with a fixed effect (code 1)."""
    return _roles("fixed", columns)


def random(*columns: str) -> Roles:
    """Predictors with a fixed effect and a random slope (code 2)."""
    return _roles("random", columns)


def mean(*columns: str) -> Roles:
    """Predictors that enter with their cluster mean as well (code 3; 4 with `random`)."""
    return _roles("mean", columns)


def latent_mean(*columns: str) -> Roles:
    """As `mean`, with a latent cluster mean (codes 5 and 6)."""
    return _roles("latent_mean", columns)


def selection(*columns: str) -> Roles:
    """Predictors of being observed only, in selection models (code -3)."""
    return _roles("selection", columns)


def outcome(*columns: str) -> Roles:
    """Predictors of the outcome only, in selection models (code -4)."""
    return _roles("outcome", columns)


def _roles(role: str, columns: tuple[str, ...]) -> Roles:
    return Roles(tuple((column, role) for column in columns))
