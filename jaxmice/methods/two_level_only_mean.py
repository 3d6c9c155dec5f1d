"""Method ``2lonly.mean``: the mean of the cluster."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.linalg import cluster_sums
from jaxmice.methods._base import Method
from jaxmice.methods._level_two import to_all_rows
from jaxmice.methods.sample import Sample
from jaxmice.random import uniforms
from jaxmice.target import Target


class TwoLevelOnlyMean(Method):
    """The mean of the cluster's observed values (``2lonly.mean`` in R's ``mice``).

    Categories get their mode in the cluster, and one of them at random, the same for all
    rows of the cluster, where several are equally frequent. Repairs a level-2 column that
    some rows of a cluster lack; it is no imputation model. Cells of clusters without an
    observed value stay missing.

    Differences from R
    ------------------
    Categories get their mode; R returns the median of their codes.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 7.8.
    """

    name: ClassVar[str] = "2lonly.mean"
    summary: ClassVar[str] = "mean of the cluster, mode of categories"
    source: ClassVar[str] = "van Buuren (2018), section 7.8"
    kinds: ClassVar[frozenset[str]] = Sample.kinds
    codes: ClassVar[frozenset[int]] = Sample.codes
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True
    levels: ClassVar[frozenset[int]] = frozenset({1, 2})
    uses_predictors: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    own_cluster_only: ClassVar[bool] = True
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=0, static=True)
    """Categories of the column, 0 for numbers."""

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
        """Give every row the value of its cluster; zero where the cluster shows none."""
        del state
        if self.n_categories:
            category = jnp.arange(self.n_categories)[:, None, None]
            member = (target.y == category) & target.ry
            count = cluster_sums(member.astype(target.y.dtype), target.layout)
            tie = uniforms(key, jnp.zeros((), int), count.T.shape, count.dtype).T
            mode = jnp.argmax(count + tie / 2, axis=0).astype(target.y.dtype)
            return to_all_rows(jnp.where(jnp.sum(count, axis=0) > 0, mode, 0), target)
        seen = target.ry.astype(target.y.dtype)
        n, total = cluster_sums(jnp.stack([seen, target.y * seen]), target.layout)
        return to_all_rows(total / jnp.maximum(n, 1), target)
