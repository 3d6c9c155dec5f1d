"""Method ``2l.groupmean``: the cluster mean of another column."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import cluster_sums, counting_rows
from jaxmice.methods._base import Method
from jaxmice.methods._level_two import to_all_rows
from jaxmice.target import Target


class TwoLevelGroupmean(Method):
    """The cluster mean of one predictor (``2l.groupmean`` in R's ``miceadds``).

    The column is computed, not drawn: in every visit it gets the mean, over the rows of
    the cluster in the completed data that are not ignored (or all, where all are), of the
    one column that has code 2 in its row. It need not have any observed value. An
    expression, ``"~ mean(x)"``, does the same and is in step with its ingredient at any
    place of the visit sequence.

    Differences from R
    ------------------
    The predictor is the one with code 2, also when there are others.

    References
    ----------
    Grund S, Lüdtke O, Robitzsch A (2018). Multiple imputation of missing data for
    multilevel models. Organizational Research Methods 21, 111-149.
    """

    name: ClassVar[str] = "2l.groupmean"
    summary: ClassVar[str] = "cluster mean of the predictor with code 2"
    source: ClassVar[str] = "Grund, Lüdtke and Robitzsch (2018)"
    kinds: ClassVar[frozenset[str]] = frozenset({"continuous", "integer", "binary_numeric"})
    codes: ClassVar[frozenset[int]] = frozenset({2})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True
    levels: ClassVar[frozenset[int]] = frozenset({1, 2})
    needs_observed: ClassVar[bool] = False
    standardised: ClassVar[bool] = False

    def check(self, n_random: int, n_observed_clusters: int, where: str) -> None:
        """Raise a `ModelError` unless there is exactly one predictor."""
        del n_observed_clusters
        check_single(n_random, where, self.name)

    def init(self, key: Key[Array, ""], sums: Target) -> tuple[()]:
        """Return nothing: there are no parameters."""
        del key, sums
        return ()

    def step(
        self, key: Key[Array, ""], state: tuple[()], sums: Target, n_steps: Int[Array, ""]
    ) -> tuple[()]:
        """Return nothing: there are no parameters."""
        del key, sums, n_steps
        return state

    def impute(self, key: Key[Array, ""], state: tuple[()], target: Target) -> Float[Array, "K B"]:
        """Give every row the mean of its cluster."""
        del key, state
        x, _ = predictor(target)
        rows = counting_rows(target.used, target.layout).astype(x.dtype)
        n, total = cluster_sums(jnp.stack([rows, x * rows]), target.layout)
        return to_all_rows(in_units(total / jnp.maximum(n, 1), target), target)


def check_single(n_random: int, where: str, name: str) -> None:
    """Raise a `ModelError` unless one column besides the intercept has code 2."""
    if n_random != 2:
        message = (
            f"{where}: {name!r} takes exactly one predictor of code 2 ('random'), found "
            f"{n_random - 1}; name it by roles="
        )
        raise ModelError("E25", message)


def predictor(target: Target) -> tuple[Float[Array, "K B"], Int[Array, ""]]:
    """Return the column with a random effect that is not the intercept, and its place."""
    columns = jnp.concatenate([target.z_shared, target.z_chain])
    is_intercept = (jnp.arange(len(columns)) == 0) & target.z_intercept
    place = jnp.argmax(target.z_live & ~is_intercept)
    return columns[place], place


def in_units(values: Float[Array, " J"], target: Target) -> Float[Array, " J"]:
    """Return values of the predictor in the user's units."""
    _, place = predictor(target)
    return target.z_units[0, place] + target.z_units[place, place] * values
