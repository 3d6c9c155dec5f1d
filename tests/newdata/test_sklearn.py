"""The adapter for scikit-learn."""

import warnings

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import JaxMiceWarning
from tests.frames import two_level

checks = pytest.importorskip("sklearn.utils.estimator_checks")

pytestmark = pytest.mark.filterwarnings("ignore:W14")


def test_sklearn_own_checks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = jm.MICEImputer(maxit=1, random_state=0)
        found = checks.check_estimator(imputer, on_fail=None, on_skip=None)
    failed = [check for check in found if check["status"] not in ("passed", "skipped")]
    assert not failed, failed[0]
    assert sum(check["status"] == "passed" for check in found) > 30


def test_sklearn_pandas_in_pandas_out() -> None:
    data = two_level(("y",))
    imputer = jm.MICEImputer("g", 2, method="sample", maxit=1, new_maxit=1, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        completed = imputer.fit_transform(data)
        several = imputer.transform_all(data[:10])
    pd.testing.assert_frame_equal(completed, imputer.imputed_.complete(1))
    assert imputer.imputed_.info["seed"] == 1
    assert list(imputer.get_feature_names_out()) == list(data)
    assert len(several) == 2
    for frame in several:
        assert frame.notna().all(axis=None)
        assert frame.index.equals(data.index[:10])
        pd.testing.assert_frame_equal(frame.where(data[:10].notna()), data[:10])
    np.testing.assert_array_equal(imputer.transform(completed), completed)
