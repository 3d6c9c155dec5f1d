"""Fixtures of the tests of the set-up."""

import numpy as np
import pandas as pd
import pytest
from model_data import Binary, LevelTwo, SlopesOnly, Unpenalised, make_school

from jaxmice.methods import REGISTRY


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (SlopesOnly, LevelTwo, Unpenalised, Binary):
        monkeypatch.setitem(REGISTRY, method.name, method)


@pytest.fixture
def school() -> pd.DataFrame:
    return make_school()


@pytest.fixture
def plain() -> pd.DataFrame:
    """Independent rows: three numbers, two of them incomplete, and three categories."""
    rng = np.random.default_rng(1)
    n = 200
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "y": rng.normal(size=n),
            "z": rng.normal(size=n),
            "c": pd.Categorical(rng.choice(["a", "b", "c"], n)),
        }
    )
    data["y"] += data["x"]
    data.loc[:39, "y"] = np.nan
    data.loc[30:49, "z"] = np.nan
    return data
