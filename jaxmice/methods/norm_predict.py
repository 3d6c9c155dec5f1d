"""Method ``norm.predict``: predicted values of a linear regression."""

from typing import ClassVar

from jaxtyping import Array, Float, Int, Key

from jaxmice.methods.norm import Norm, predictions
from jaxmice.samplers import linear
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target


class NormPredict(Norm):
    r"""Imputation by the fitted value :math:`x'\hat\beta` (``norm.predict`` in R's ``mice``).

    All imputations are alike and lie on the regression line: every variance is understated
    and every correlation overstated. For comparison only.

    Differences from R
    ------------------
    As for ``norm``.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 3.2.
    """

    name: ClassVar[str] = "norm.predict"
    summary: ClassVar[str] = "fitted value of a linear regression"
    source: ClassVar[str] = "van Buuren (2018), section 3.2"
    exact: ClassVar[bool] = False

    def step(
        self, key: Key[Array, ""], state: linear.Parameters, sums: Sums, n_steps: Int[Array, ""]
    ) -> linear.Parameters:
        """Return the estimates."""
        del key, state, n_steps
        return linear.estimate(sums)

    def impute(
        self, key: Key[Array, ""], state: linear.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Return the fitted values."""
        del key
        return predictions(state.b, state.beta, target)
