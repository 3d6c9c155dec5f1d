"""Imputation as a step of a scikit-learn pipeline."""

from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.mice import mice

try:
    from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    message = "MICEImputer needs scikit-learn, 1.6 or later; pip install 'jaxmice[sklearn]'"
    raise DataError("E70", message) from error


class MICEImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill missing values by chained equations; learns from one data set, fills others.

    Parameters
    ----------
    cluster
        Column with the cluster ids, see `jaxmice.mice`; columns of an array are called
        ``x0``, ``x1``, ...
    m
        Number of imputations; `transform` returns the first, `transform_all` every one.
    method, roles, maxit
        As for `jaxmice.mice`.
    new_maxit
        Iterations for rows that the model was not fitted to.
    random_state
        Seed: a whole number, a `numpy.random.RandomState`, or None for another one each time.

    Attributes
    ----------
    imputed_
        The `ImputedData` of the data that the imputer was fitted to.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> imputer = jm.MICEImputer(cluster="school", method="2l.pan", random_state=1)
    >>> bool(imputer.fit_transform(d).isna().any(axis=None))
    False
    """

    def __init__(
        self,
        cluster: Any = None,
        m: int = 1,
        *,
        method: Any = None,
        roles: Any = None,
        maxit: int | None = None,
        new_maxit: int = 5,
        random_state: Any = None,
    ) -> None:
        self.cluster, self.m, self.method, self.roles = cluster, m, method, roles
        self.maxit, self.new_maxit, self.random_state = maxit, new_maxit, random_state

    def fit(self, X: Any, y: Any = None) -> "MICEImputer":
        """Impute the data and keep what is needed to impute others.

        Parameters
        ----------
        X
            Data frame or array, (n, p), p at least 2.
        y
            Not used.
        """
        frame = self._frame(X, reset=True)
        seed = self.random_state
        if seed is not None and not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        self.imputed_ = mice(
            frame,
            self.m,
            self.method,
            cluster=self.cluster,
            roles=self.roles,
            maxit=self.maxit,
            seed=seed,
        )
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Return the data with the first imputation filled in; see `fit`."""
        self.fit(X, y)
        return self._like(X, self.imputed_.complete(1))

    def transform(self, X: Any) -> Any:
        """Return data with the first imputation filled in; they do not change the model.

        Parameters
        ----------
        X
            Data frame or array with the columns that the imputer was fitted to.
        """
        return self.transform_all(X)[0]

    def transform_all(self, X: Any) -> list[Any]:
        """Return the data m times, each with one imputation filled in; see `transform`."""
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        if not frame.isna().any(axis=None):
            return [self._like(X, frame.copy()) for _ in range(self.m)]
        new = self.imputed_.impute_new(frame, self.new_maxit)
        return [self._like(X, completed) for completed in new]

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        array = validate_data(
            self,
            X,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_features=2 if reset else 1,
            ensure_min_samples=2 if reset else 1,
        )
        return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])

    @staticmethod
    def _like(X: Any, completed: pd.DataFrame) -> Any:
        return completed if isinstance(X, pd.DataFrame) else completed.to_numpy(np.float64)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that missing values are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
