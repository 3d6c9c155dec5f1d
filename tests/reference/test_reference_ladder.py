"""Variance between clusters after imputation: closed forms for right and for wrong methods."""

import pandas as pd
import pytest

from benchmarks.acceptance import a1

R = 200

Setting = tuple[float, int, int, list[pd.DataFrame]]


@pytest.fixture(scope="module", params=a1.SETTINGS, ids=["icc 0.2", "icc 0.5"])
def setting(request: pytest.FixtureRequest) -> Setting:
    tau2, n, m = request.param
    return tau2, n, m, a1.data_sets(tau2, n, m, R)


@pytest.mark.parametrize("method", ["2l.pan", "2l.norm"])
def test_ladder_two_level_methods_keep_the_variance_between_clusters(
    setting: Setting, method: str
) -> None:
    tau2, _, m, frames = setting
    found = a1.between(frames, method, seed=4)
    limit = a1.LIMIT if tau2 == 0.25 else 4 * found.std() / R**0.5
    assert abs(found.mean() - tau2) <= limit + abs(a1.prior_shift(tau2, m))


@pytest.mark.filterwarnings("ignore:W1[34]")
def test_ladder_ignoring_clusters_loses_it(setting: Setting) -> None:
    tau2, n, m, frames = setting
    found = a1.between(frames, "norm", seed=4, code=0)
    assert abs(found.mean() - a1.ignored(tau2, n, m)) < 4 * found.std() / R**0.5


def test_ladder_dummies_add_to_it(setting: Setting) -> None:
    tau2, n, m, frames = setting
    found = a1.between(frames, "norm", seed=4, code=1)
    assert abs(found.mean() - a1.dummies(tau2, n, m)) < 4 * found.std() / R**0.5
