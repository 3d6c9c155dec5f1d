"""A subset of the calibration, small: the whole is ``python -m benchmarks.calibration``."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest

from benchmarks.calibration.__main__ import main
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import find_cases
from benchmarks.calibration.cases.linear import Linear
from benchmarks.calibration.checks import Program, check, check_ranks, check_twin
from jaxmice.samplers import linear

SIMULATIONS = 200
CASES = {name: case for name, case in find_cases().items() if case.in_suite}


@pytest.fixture(scope="module", autouse=True)
def _double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", CASES)
def test_sampler_is_calibrated_and_its_wrong_twins_are_not(name: str) -> None:
    """False alarms: 1e-4 per quantity and test, at most 40 of them per sampler."""
    case = CASES[name]
    program = Program(case, SIMULATIONS)
    result = check(program, SIMULATIONS, 1)
    assert result.passed, (result.ranks, result.start)
    for mistake in case.twins:
        twin = check_twin(program, SIMULATIONS, 1, mistake)
        assert twin.found.red, twin


class StandsStill(Linear):
    """Starts anywhere and never moves: every exact start keeps its law."""

    name = "stands still"

    def run(
        self, key: jax.Array, state: linear.Parameters, y: jax.Array, n_steps: jax.Array, made: Made
    ) -> linear.Parameters:
        return state


class IgnoresData(Linear):
    """Returns what it was given, but for noise: it forgets the data, not the scale."""

    name = "ignores the data"

    def run(
        self, key: jax.Array, state: linear.Parameters, y: jax.Array, n_steps: jax.Array, made: Made
    ) -> linear.Parameters:
        beta = 3 * jax.random.normal(key, state.beta.shape)
        return linear.Parameters(beta, beta, state.b, state.b, jnp.asarray(1.0))


@pytest.mark.parametrize("case", [StandsStill(), IgnoresData()], ids=lambda case: case.name)
def test_ranks_see_what_does_not_get_there(case: Case) -> None:
    found, effective = check_ranks(Program(case, SIMULATIONS), SIMULATIONS, 1)
    assert found.red
    assert 0 <= effective <= 1


def test_command_prints_a_table_and_returns_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "linear", "--simulations", "50"]) == 0
    assert "| linear | norm" in capsys.readouterr().out
