"""Errors and warnings: one clear message each, with a code to search for.

Every message says what is wrong, where (column, cluster, up to five rows) and what to
do. A class is also the built-in error it is a case of.
"""


class JaxMiceError(Exception):
    """Base of every error that jaxmice raises for bad input.

    Parameters
    ----------
    code
        Stable code of the complaint, such as ``"E05"``.
    message
        What is wrong, where, and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class DataError(JaxMiceError, ValueError):
    """The data frame cannot be used as it is."""


class ModelError(JaxMiceError, ValueError):
    """The imputation model contradicts itself or the data."""


class RunError(JaxMiceError, RuntimeError):
    """A run cannot go on."""


class AmputeError(JaxMiceError, ValueError):
    """Data cannot be made incomplete in the way asked for."""


class AnalysisError(JaxMiceError, ValueError):
    """An analysis model cannot be fitted to the completed data."""


class PoolError(JaxMiceError, ValueError):
    """Results cannot be pooled."""


class JaxMiceWarning(UserWarning):
    """Something a user should know; the text starts with a code such as ``W14``."""
