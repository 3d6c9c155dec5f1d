"""What every imputation method declares and promises."""

import abc
import dataclasses
from typing import Any, ClassVar, Self

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.wording import near


class Method(eqx.Module):
    """How one incomplete variable is imputed given its predictors.

    The fields of a method are its options, never its data. Its functions are pure and
    see one chain; the engine maps them over chains and compiles them once per method
    and shape. Options that only change numbers are ordinary fields, so that another
    value compiles nothing; options that change the program are static fields.
    """

    name: ClassVar[str]
    """The string users write, the one of R's ``mice`` where it has the method."""

    summary: ClassVar[str]
    """One line for the table of methods."""

    source: ClassVar[str]
    """Author, year and place of the method."""

    kinds: ClassVar[frozenset[str]]
    """Kinds of column it can impute."""

    codes: ClassVar[frozenset[int]]
    """Codes of the predictor matrix it honours, besides 0; others are refused."""

    cluster_codes: ClassVar[frozenset[int]] = frozenset()
    """Codes it takes on the cluster column: -2 for its random effects, 1 for dummies."""

    needs_cluster: ClassVar[bool] = False
    """Whether its row must name one cluster column."""

    several_clusters: ClassVar[bool] = False
    """Whether its row may name further cluster columns, nested or crossed."""

    levels: ClassVar[frozenset[int]] = frozenset({1})
    """Levels of the columns that it imputes as they should be."""

    donor_based: ClassVar[bool] = False
    """Whether every imputed value is one of the observed values."""

    uses_predictors: ClassVar[bool] = True
    """Whether it reads any predictor."""

    needs_observed: ClassVar[bool] = True
    """Whether it needs an observed value of its column; others compute it from predictors."""

    own_cluster_only: ClassVar[bool] = False
    """Whether it fills cells of clusters that show a value only; others stay missing."""

    regularised: ClassVar[bool] = True
    """Whether it can be fitted to fewer rows than it has predictors."""

    exact: ClassVar[bool] = True
    """Whether a visit draws from the stated model without approximation."""

    standardised: ClassVar[bool] = True
    """Whether it wants a numeric target centred and scaled."""

    integral: ClassVar[bool] = False
    """Whether every imputed value is a whole number."""

    counts: ClassVar[bool] = False
    """Whether every observed value must be a whole number from 0 on."""

    joint: ClassVar[bool] = False
    """Whether it draws all columns of a block together, from a `JointTarget`."""

    models_selection: ClassVar[bool] = False
    """Whether it reads which rows of the fit have no value; -3 and -4 are codes of such methods."""

    bad_draws: ClassVar[str] = "values or predictors of extreme size; rescale them"
    """Likely cause of draws that are not finite, and what to do."""

    set_by_column: ClassVar[frozenset[str]] = frozenset()
    """Fields that the columns decide and not the user: ``n_categories``, or nothing."""

    @property
    def runs_plainly(self) -> bool:
        """Whether kernels that are faster to compile are no slower to run."""
        return False

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the method's options."""
        names = [field.name for field in dataclasses.fields(cls)]
        return [name for name in names if name not in cls.set_by_column]

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """Return the method with the given options.

        Raises
        ------
        ModelError
            E51: an option that the method does not have, or a value it cannot take.
        """
        known = cls.option_names()
        for option in options:
            if option not in known:
                hint = near(option, known) if known else "it has none"
                raise ModelError("E51", f"method {cls.name!r} has no option {option!r}; {hint}")
        return cls(**options)

    def for_column(self, kind: str, n_categories: int) -> "Method":
        """Return the method as it imputes a column.

        Parameters
        ----------
        kind
            Kind of the column.
        n_categories
            Number of its categories, 0 for a number.
        """
        del kind
        if "n_categories" in self.set_by_column:
            return dataclasses.replace(self, **{"n_categories": n_categories})
        return self

    def for_columns(
        self, kinds: tuple[str, ...], n_categories: tuple[int, ...], levels: tuple[int, ...]
    ) -> "Method":
        """Return a joint method as it imputes the columns of a block."""
        del kinds, n_categories, levels
        return self

    def check(self, n_random: int, n_observed_clusters: int, where: str) -> None:
        """Raise a `ModelError` where the data cannot identify the method's model."""

    def schedule(self, *, first: bool) -> tuple[int, bool]:
        """Return the inner iterations of a visit and whether it starts afresh."""
        del first
        return 1, True

    def read(self, target: Any) -> Any:
        """Return what the parameters depend on: sums over the rows marked by ``ry``.

        Called once per visit, before anything is drawn, with a `Target` or, if the method
        is ``joint``, a `JointTarget`.
        """
        return target

    def unfitted(self, state: Any) -> Bool[Array, "*batch J"] | None:
        """Return clusters of which no fit was found; None if the method needs none."""
        del state
        return None

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], sums: Any) -> Any:
        """Return a starting state, which the chain must be able to forget.

        ``sums`` is what `read` returned.
        """

    @abc.abstractmethod
    def step(self, key: Key[Array, ""], state: Any, sums: Any, n_steps: Int[Array, ""]) -> Any:
        """Draw the parameters given what `read` returned.

        The draw leaves their posterior unchanged: it is exact, or ``n_steps``
        transitions of a Markov chain that starts at ``state``.
        """

    @abc.abstractmethod
    def impute(self, key: Key[Array, ""], state: Any, target: Any) -> Float[Array, "*r K B"]:
        """Draw every row, ``(r, K, B)`` if joint; the engine keeps those marked by ``wy``."""
