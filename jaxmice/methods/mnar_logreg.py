"""Method ``mnar.logreg``: logistic regression, shifted for what is missing not at random."""

from typing import ClassVar

from jaxmice.methods._mnar import Shifted
from jaxmice.methods.logreg import Logreg


class MnarLogreg(Shifted, Logreg):
    r"""Logistic regression under a stated shift (``mnar.logreg`` in R's ``mice``).

    :math:`\Pr(y = 1) = 1 / (1 + e^{-x'\beta - \Delta})` for missing values, with
    :math:`\beta` from the observed rows as in ``logreg`` and the shift :math:`\Delta` of
    the log odds given by the option ``delta``: a number or an expression in complete
    columns, in their units, such as ``"-3 + 2 * bmi"``.

    The data cannot tell :math:`\Delta`: compare several. It is the shift given all other
    columns, which is not that of the marginal log odds.

    Differences from R
    ------------------
    The option is called ``delta`` (R: ``ums``) and takes any expression, also in columns
    that are no predictors, but none in columns with missing values.

    References
    ----------
    Those of ``mnar.norm``: van Buuren, Boshuizen and Knook (1999), Statistics in Medicine
    18, 681-694; Tompsett et al. (2018), Statistics in Medicine 37, 2338-2353.
    """

    name: ClassVar[str] = "mnar.logreg"
    summary: ClassVar[str] = "logistic regression with a stated shift"
    source: ClassVar[str] = "van Buuren, Boshuizen and Knook (1999); Tompsett et al. (2018)"
    exact: ClassVar[bool] = False
