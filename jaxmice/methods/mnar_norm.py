"""Method ``mnar.norm``: linear regression, shifted for what is missing not at random."""

from typing import ClassVar

from jaxmice.methods._mnar import Shifted
from jaxmice.methods.norm import Norm


class MnarNorm(Shifted, Norm):
    r"""Bayesian linear regression under a stated shift (``mnar.norm`` in R's ``mice``).

    Draws :math:`y = x'\beta + \Delta + e`, with :math:`\beta` and the residual variance
    from the observed rows as in ``norm`` and the shift :math:`\Delta` of missing values
    given by the option ``delta``: a number or an expression in columns, in their units and
    as they are currently completed, such as ``"-3 + 2 * bmi"``.

    The data cannot tell :math:`\Delta`: compare several. It is the shift given all other
    columns, which is not that of the mean.

    Differences from R
    ------------------
    The option is called ``delta`` (R: ``ums``) and takes any expression, also in columns
    that are no predictors; its terms are separated as in arithmetic.

    References
    ----------
    van Buuren S, Boshuizen HC, Knook DL (1999). Multiple imputation of missing blood
    pressure covariates in survival analysis. Statistics in Medicine 18, 681-694. Tompsett
    DM, Leacy F, Moreno-Betancur M, Heron J, White IR (2018). On the use of the
    not-at-random fully conditional specification (NARFCS) procedure in practice. Statistics
    in Medicine 37, 2338-2353.
    """

    name: ClassVar[str] = "mnar.norm"
    summary: ClassVar[str] = "Bayesian linear regression with a stated shift"
    source: ClassVar[str] = "van Buuren, Boshuizen and Knook (1999); Tompsett et al. (2018)"
