"""Chains and compilations that are spread over cores."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from jaxmice.engine import run as engine_run
from tests.engine.test_engine_streams import NAMES, draws, impute

pytestmark = pytest.mark.filterwarnings("ignore:W14")


@pytest.mark.parametrize(
    ("m", "cells", "n_cores", "expected"),
    [(20, 20, 2, 2), (20, 1, 2, 1), (20, 80, 8, 5), (5, 20, 2, 1), (5, 20, 64, 5), (1, 99, 8, 1)],
)
def test_chunks_are_equal_and_worth_a_core(m: int, cells: int, n_cores: int, expected: int) -> None:
    shape = (1, 3, cells * engine_run.WORTH_A_CORE // 20, 1)
    problem: Any = SimpleNamespace(data=SimpleNamespace(observed=np.broadcast_to(0.0, shape)))
    assert engine_run._split(problem, m, n_cores) == expected


def test_chains_in_threads_are_those_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = impute(m=4, maxit=2)
    monkeypatch.setattr(engine_run, "WORTH_A_CORE", 1)
    monkeypatch.setattr(engine_run.Session, "_n_cores", 4)
    with jax.default_device(jax.devices()[0]):
        parts = impute(m=4, maxit=2)
    for name in NAMES:
        np.testing.assert_allclose(draws(parts)[name], draws(whole)[name], rtol=1e-9)
    np.testing.assert_allclose(parts.chain_mean, whole.chain_mean, rtol=1e-9)
