"""Method ``norm.nob``: linear regression without a draw of its parameters."""

from typing import ClassVar

from jaxtyping import Array, Int, Key

from jaxmice.methods.norm import Norm
from jaxmice.samplers import linear
from jaxmice.samplers.sums import Sums


class NormNob(Norm):
    r"""Linear regression, not Bayesian (``norm.nob`` in R's ``mice``).

    Draws :math:`x'\hat\beta + e` with :math:`e \sim N(0, \hat\sigma^2)` and
    :math:`\hat\sigma^2` the residual sum of squares by its degrees of freedom. The
    uncertainty of the parameters is left out, so that intervals are too short; harmless in
    large samples only.

    Differences from R
    ------------------
    The degrees of freedom are rows less coefficients; R counts the intercept twice.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 3.2.
    """

    name: ClassVar[str] = "norm.nob"
    summary: ClassVar[str] = "linear regression, parameters not drawn"
    source: ClassVar[str] = "van Buuren (2018), section 3.2"
    exact: ClassVar[bool] = False

    def step(
        self, key: Key[Array, ""], state: linear.Parameters, sums: Sums, n_steps: Int[Array, ""]
    ) -> linear.Parameters:
        """Return the estimates."""
        del key, state, n_steps
        return linear.estimate(sums)
