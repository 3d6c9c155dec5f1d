"""The popularity data with missing ratings."""

from importlib.resources import files

import pandas as pd

from jaxmice.errors import DataError


def load_popmis(complete: bool = False) -> pd.DataFrame:
    """Load the popularity of 2000 pupils in 100 schools, missing for 848 of them.

    Parameters
    ----------
    complete
        Must be False: the true values of the missing ratings are not part of the package.
        `make_popular` simulates similar data together with the truth.

    Returns
    -------
    pandas.DataFrame
        Columns ``pupil`` (number within the school), ``school``, ``popular`` (rated by
        classmates, 0 to 10; incomplete), ``sex`` (0 boy, 1 girl), ``texp`` (experience of the
        teacher in years, level 2), ``const`` (1) and ``teachpop`` (rated by the teacher).

    Raises
    ------
    DataError
        E55, if `complete` is True.

    Notes
    -----
    Teaching data simulated by Hox (2002), distributed in this incomplete form with the R
    package mice by van Buuren and Groothuis-Oudshoorn (2011).

    References
    ----------
    Hox, J. J. (2002). Multilevel Analysis: Techniques and Applications. Erlbaum.

    van Buuren, S., & Groothuis-Oudshoorn, K. (2011). mice: Multivariate imputation by chained
    equations in R. Journal of Statistical Software, 45(3), 1-67.

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.datasets.load_popmis().shape
    (2000, 7)
    """
    if complete:
        raise DataError(
            "E55",
            "the true values of popmis are not part of jaxmice; make_popular(seed=1) simulates "
            "such data together with the complete frame",
        )
    with files("jaxmice.datasets").joinpath("popmis.csv").open("rb") as file:
        return pd.read_csv(file)
