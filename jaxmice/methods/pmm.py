"""Method ``pmm``: predictive mean matching."""

from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxmice.linalg import eigh, eliminate, total_products
from jaxmice.methods._matching import Matching
from jaxmice.methods.norm import Norm, predictions
from jaxmice.samplers import linear
from jaxmice.samplers.sums import Sums, ridge_of
from jaxmice.target import Target


class Pmm(Matching, Norm):
    r"""Predictive mean matching (``pmm`` in R's ``mice``).

    A missing value is taken from one of the ``donors`` observed rows whose predictions
    :math:`x'\hat\beta` lie nearest to :math:`x'\beta^*`, with :math:`\beta^*` a posterior
    draw (matching type 1). Options: ``donors`` (5), ``matchtype`` (0: estimate on both
    sides, 1, or 2: the draw on both) and ``ties``: ``"ball"``, all donors as near as the
    last one belong to the pool, or ``"exact_k"``, the rule of R. The categories of a
    nominal column are matched by the score, a number for each, that the predictors
    explain best (the first canonical variate of the dummies).

    Imputations never leave the observed values. With few observed values or much
    missing in one tail their variance is understated (van Buuren 2018, section 3.4).

    Differences from R
    ------------------
    Under ``"exact_k"`` all recipients with one prediction share the same few donors, so
    with few distinct predictions the imputations vary several times too much between
    sets; ``"ball"`` does not have this fault. Rare categories take part like the others.

    References
    ----------
    Little RJA (1988). Missing-data adjustments in large surveys. Journal of Business and
    Economic Statistics 6, 287-296. van Buuren S (2018). Flexible Imputation of Missing
    Data, 2nd edition, section 3.4.
    """

    name: ClassVar[str] = "pmm"
    summary: ClassVar[str] = "predictive mean matching"
    source: ClassVar[str] = "Little (1988); van Buuren (2018), section 3.4"
    kinds: ClassVar[frozenset[str]] = frozenset(
        {"continuous", "integer", "binary_numeric", "binary", "ordinal", "nominal"}
    )
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=0, static=True)
    """Categories of a nominal column, 0 for a column whose values have an order."""

    def for_column(self, kind: str, n_categories: int) -> "Pmm":
        """Return the method, with as many scores as a nominal column has categories."""
        return replace(self, n_categories=n_categories if kind == "nominal" else 0)

    def read(self, target: Target) -> Sums:
        """Return the sums of the target, of its scores if it is nominal."""
        if self.n_categories:
            score = canonical_score(target, self.n_categories)[target.y.astype(int)]
            target = replace(target, y=jnp.where(target.ry, score, 0))
        return super().read(target)

    def impute(
        self, key: Key[Array, ""], state: linear.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Give every row the observed value of a donor."""
        hat = predictions(state.b_hat, state.beta_hat, target)
        drawn = predictions(state.b, state.beta, target)
        return self.match(key, hat, drawn, target)


def canonical_score(target: Target, n_categories: int) -> Float[Array, " c"]:
    """Return the scores of categories that the fixed predictors explain best.

    The first canonical variate between the dummies of the categories and the predictors
    (Hotelling 1936, Biometrika 28, 321-377), with variance one over the observed rows.
    """
    X = jnp.concatenate([target.f_shared, target.f_chain])
    seen = target.ry.astype(X.dtype)
    category = jnp.arange(n_categories)[:, None, None]
    D = ((target.y == category) & target.ry).astype(X.dtype)
    size, n = jnp.sum(D, axis=(1, 2)), jnp.maximum(jnp.sum(seen), 1)
    raw = jnp.sum(X**2 * seen, axis=(1, 2))
    X = (X - (jnp.sum(X * seen, axis=(1, 2)) / n)[:, None, None]) * seen
    square = jnp.sum(X**2, axis=(1, 2))
    # What is left of a constant is rounding; a minute ridge for what repeats others.
    varies = square > 64 * jnp.finfo(X.dtype).eps * raw
    X = jnp.where(varies[:, None, None], X, 0)
    total = total_products(X, X) + jnp.diag(jnp.where(varies, ridge_of(X.dtype) * square, 1))
    root = jnp.sqrt(jnp.maximum(size, 1))
    between = total_products(X, D) / root
    half = eliminate(total, between, loop=True)[1]
    score = eigh(half.T @ half)[1][:, -1] / root * jnp.sqrt(n)
    # An eigenvector has no sign of its own; its skewness gives it one on every machine.
    return jnp.where(jnp.sum(size * score**3) < 0, -score, score)
