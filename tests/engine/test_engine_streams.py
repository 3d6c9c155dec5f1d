"""Every draw has an address: what may and what may not change an imputation."""

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.engine import run as engine_run
from jaxmice.engine.streams import fold_in, root_keys, visit_keys
from tests.frames import two_level

pytestmark = pytest.mark.filterwarnings("ignore:W1[34]")

NAMES = ("x", "y", "z")
CODES = {
    "x": {"g": 0, "w": 1, "y": 1, "z": 0},
    "y": {"g": 0, "w": 1, "x": 1, "z": 0},
    "z": {"g": 0, "w": 1, "x": 0, "y": 0},
}


def impute(data: pd.DataFrame | None = None, **options: Any) -> jm.ImputedData:
    data = two_level(NAMES) if data is None else data
    settings: dict[str, Any] = {"m": 2, "maxit": 1, "seed": 3} | options
    return jm.mice(data, method="norm", cluster="g", **settings)


def draws(imp: jm.ImputedData, names: Any = NAMES) -> dict[str, np.ndarray]:
    return {name: imp.imp[name].to_numpy() for name in names}


def assert_same(one: jm.ImputedData, other: jm.ImputedData, names: Any = NAMES) -> None:
    for name, values in draws(one, names).items():
        np.testing.assert_array_equal(values, draws(other, names)[name], err_msg=name)


def test_streams_fold_in_is_that_of_jax() -> None:
    key = jax.random.key(11)
    ours = fold_in(np.asarray(jax.random.key_data(key)), 2**31 + 5)
    np.testing.assert_array_equal(ours, jax.random.key_data(jax.random.fold_in(key, 2**31 + 5)))


def test_streams_addresses_are_all_different() -> None:
    roots = root_keys(2**40 + 1, 3)
    seen = set()
    for iteration in (0, 1):
        for block, number in (("a", 0), ("a", 1), ("b", 0)):
            keys = jax.random.key_data(
                visit_keys(roots, np.array([1, 2]), iteration, block, number)
            )
            seen |= {tuple(key) for key in np.asarray(keys).reshape(-1, 2).tolist()}
    assert len(seen) == 3 * 2 * 3 * 2 * 3


def test_streams_a_repeated_call_gives_the_same_bits() -> None:
    assert_same(impute(), impute())


def test_streams_all_64_bits_of_the_seed_count() -> None:
    low, high = impute(seed=5), impute(seed=5 + 2**32)
    assert not np.allclose(draws(low)["y"], draws(high)["y"])
    assert impute(seed=2**64 - 1).info["seed"] == 2**64 - 1


def test_streams_a_jax_key_is_the_seed_that_made_it() -> None:
    for key in (jax.random.key(5), jax.random.PRNGKey(5)):
        assert_same(impute(seed=key), impute(seed=5))


def test_streams_without_a_seed_one_is_taken_and_kept() -> None:
    first = impute(seed=None)
    assert first.info["seed"] != impute(seed=None).info["seed"]
    assert_same(first, impute(seed=first.info["seed"]))


def test_streams_more_imputations_begin_with_the_same_ones() -> None:
    few, many = impute(m=5, maxit=2), impute(m=20, maxit=2)
    for name in NAMES:
        np.testing.assert_allclose(draws(many)[name][:, :5], draws(few)[name], rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_streams_chunks_of_chains_do_not_matter(size: int) -> None:
    whole = impute(m=5, maxit=2)
    parts = impute(m=5, maxit=2, chunk_chains=size)
    for name in NAMES:
        np.testing.assert_allclose(draws(parts)[name], draws(whole)[name], rtol=1e-9)
    np.testing.assert_allclose(parts.chain_mean, whole.chain_mean, rtol=1e-9)


def test_streams_chains_are_chunked_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = impute(m=5, maxit=2)
    monkeypatch.setattr(engine_run, "_free_memory", lambda device: 1.0)
    imp = impute(m=5, maxit=2)
    np.testing.assert_allclose(draws(imp)["y"], draws(whole)["y"], rtol=1e-9)


def test_streams_an_unrelated_block_does_not_matter() -> None:
    with_z = impute(predictor_matrix=CODES)
    codes = {row: CODES[row] for row in ("x", "y")}
    without = impute(two_level(("x", "y")), predictor_matrix=codes)
    assert_same(with_z, without, ("x", "y"))


def test_streams_the_place_of_an_unrelated_block_does_not_matter() -> None:
    last = impute(predictor_matrix=CODES)
    first = impute(predictor_matrix=CODES, visit_sequence=["z", "x", "y"])
    assert_same(last, first)


def test_streams_starting_values_do_not_depend_on_the_order_of_visits() -> None:
    one = impute(predictor_matrix=CODES, maxit=0)
    other = impute(predictor_matrix=CODES, maxit=0, visit_sequence=["z", "y", "x"])
    assert_same(one, other)


def test_streams_starting_values_differ_between_columns_and_chains() -> None:
    data = two_level(NAMES)
    data["x"] = data["y"]
    values = draws(impute(data, maxit=0, screen="off"), ("x", "y"))
    assert not np.array_equal(values["x"], values["y"])
    assert not np.array_equal(values["y"][:, 0], values["y"][:, 1])


def test_streams_a_block_visited_twice_draws_anew() -> None:
    once = impute(predictor_matrix=CODES, visit_sequence=["z", "x", "y"])
    twice = impute(predictor_matrix=CODES, visit_sequence=["z", "x", "y", "z"])
    assert not np.allclose(draws(once)["z"], draws(twice)["z"])


@pytest.mark.parametrize("method", ["norm", "2l.pan"])
def test_streams_a_run_that_is_continued_equals_one_run(method: str) -> None:
    data = two_level(("x", "y"))
    settings: dict[str, Any] = {"method": method, "cluster": "g", "m": 2, "seed": 1}
    settings["options"] = {"*": {"inner_iter": 3, "burnin": 5}} if method == "2l.pan" else None
    at_once = jm.mice(data, maxit=5, **settings)
    start = jm.mice(data, maxit=2, **settings)
    before = draws(start, ("x", "y"))
    later = start.continue_run(3)
    assert later.iteration == 5
    assert_same(later, at_once, ("x", "y"))
    np.testing.assert_array_equal(later.chain_mean, at_once.chain_mean)
    np.testing.assert_array_equal(draws(start, ("x", "y"))["y"], before["y"])
    assert_same(start.continue_run(3), at_once, ("x", "y"))
    assert_same(start.continue_run(0), start, ("x", "y"))


def test_streams_added_imputations_are_those_of_a_larger_run() -> None:
    large = impute(m=5, maxit=2)
    added = impute(m=2, maxit=2).add_imputations(3)
    assert added.m == 5
    for name in NAMES:
        np.testing.assert_allclose(draws(added)[name], draws(large)[name], rtol=1e-9)
    np.testing.assert_allclose(added.chain_var, large.chain_var, rtol=1e-9)
    further = added.continue_run(1)
    np.testing.assert_allclose(draws(further)["z"], draws(impute(m=5, maxit=3))["z"], rtol=1e-9)


def test_streams_first_of_several_data_sets_is_imputed_as_if_alone() -> None:
    frames = [two_level(("x", "y"), seed=s) for s in (0, 1, 2)]
    settings: dict[str, Any] = {"method": "norm", "m": 2, "maxit": 2, "seed": 9, "cluster": "g"}
    several = jm.replicate(frames, **settings)
    alone = jm.mice(frames[0], **settings)
    for name in ("x", "y"):
        np.testing.assert_allclose(
            draws(several[0], (name,))[name], draws(alone, (name,))[name], rtol=1e-9
        )
    np.testing.assert_allclose(several[0].chain_icc, alone.chain_icc, rtol=1e-9)
    second = draws(several[1], ("y",))["y"]
    assert not np.allclose(second, draws(jm.mice(frames[1], **settings), ("y",))["y"])


def test_streams_replicates_of_one_data_set_are_independent() -> None:
    frame = two_level(("y",))
    first, second = jm.replicate([frame, frame], method="norm", m=1, seed=1, cluster="g", maxit=1)
    assert not np.allclose(draws(first, ("y",))["y"], draws(second, ("y",))["y"])
