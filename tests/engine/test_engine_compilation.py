"""What compiles a program, and what does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import pytest

import jaxmice as jm
from tests.frames import two_level

pytestmark = pytest.mark.filterwarnings("ignore:W1[34]")

COMPILED: list[str] = []


def note(event: str, duration_secs: float, **kwargs: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(str(kwargs.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(note)


@contextmanager
def counting() -> Iterator[list[int]]:
    """Count programs compiled in the block: all of them, and those of visits."""
    counts: list[int] = []
    before = len(COMPILED)
    yield counts
    programs = COMPILED[before:]
    counts += [len(programs), sum("visit" in name for name in programs)]


def run(seed: int = 0, incomplete: Any = ("y",), **options: Any) -> jm.ImputedData:
    settings: dict[str, Any] = {"method": "norm", "m": 3, "maxit": 1, "seed": 1, "cluster": "g"}
    return jm.mice(two_level(incomplete, seed=seed), **settings | options)


def test_compilation_is_counted() -> None:
    with counting() as counts:
        jax.jit(lambda x: x + 1)(np.ones(17))
    assert counts[0] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"maxit": 3},
        {"where": None},
        {"roles": {"y": {"w": "none"}}},
    ],
    ids=["values", "iterations", "cells", "predictors"],
)
def test_compilation_is_not_repeated_for(change: dict[str, Any]) -> None:
    run()
    data = two_level(seed=change.pop("seed", 0))
    if change.pop("where", 0) is None:
        data.loc[3:9, "y"] = np.nan
    settings: dict[str, Any] = {"method": "norm", "m": 3, "maxit": 1, "seed": 77, "cluster": "g"}
    with counting() as counts:
        jm.mice(data, **settings | change)
    # Fewer predictors are another width; everything else is the same program.
    assert counts[1] == ("roles" in change)
    assert counts[0] == 0 or "roles" in change


def test_compilation_is_shared_by_targets_of_one_method_and_width() -> None:
    with counting() as counts:
        run(incomplete=("x", "y", "z"), m=4, maxit=2)
    assert counts[1] == 1


def test_compilation_is_shared_by_nearly_equal_sizes() -> None:
    first = two_level(clusters=40, size=6)
    second = two_level(clusters=40, size=6, seed=3).drop(index=[0, 100, 101])
    settings: dict[str, Any] = {"method": "norm", "m": 2, "maxit": 1, "seed": 1, "cluster": "g"}
    jm.mice(first, **settings)
    with counting() as counts:
        jm.mice(second, **settings)
    assert counts[1] == 0


@pytest.mark.parametrize("option", ["inner_iter", "burnin"])
def test_compilation_is_not_repeated_for_another_number_of_inner_steps(option: str) -> None:
    settings: dict[str, Any] = {"method": "2l.pan", "m": 2, "maxit": 2}
    run(options={"y": {option: 3}}, **settings)
    with counting() as counts:
        run(options={"y": {option: 5}}, **settings)
    assert counts == [0, 0]


@pytest.mark.parametrize(("incomplete", "m"), [(("x", "y"), 5), (("x", "y", "z"), 6)])
def test_compilation_is_no_program_more_for_a_column_of_a_present_kind(
    incomplete: tuple[str, ...], m: int
) -> None:
    with counting() as counts:
        run(incomplete=incomplete, m=m)
    assert counts[1] == 1
