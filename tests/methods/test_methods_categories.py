"""The two-level methods for categories at their edges, and through the front door."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.errors import ModelError
from jaxmice.methods import REGISTRY, Method
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES, SEEN = (7, 5, 3, 4, 1, 6, 0, 8), (5, 0, 2, 4, 1, 2, 0, 6)
"""A cluster without observed rows, one without rows, a single row."""

ROWS = ragged(SIZES, SEEN, 2, 2, seed=5)
CATEGORIES = {"2l.bin": 2, "2l.ordinal": 4, "2l.nominal": 4}


def visit(method: Method, key: jax.Array, target: Target, n_steps: int) -> tuple[Any, jax.Array]:
    """Make a visit as the engine does; return the state and the imputations."""
    key_init, key_step, key_impute = jax.random.split(key, 3)
    sums = method.read(target)
    state = method.init(key_init, sums)
    state = method.step(key_step, state, sums, jnp.asarray(n_steps))
    return state, method.impute(key_impute, state, target)


@functools.cache
def visits(name: str, n_categories: int, n_chains: int = 6, n_steps: int = 30) -> Any:
    """Return a program that makes visits from several chains."""
    method = REGISTRY[name]().for_column("any", n_categories)

    @jax.jit
    def run(target: Target) -> tuple[Any, jax.Array]:
        keys = jax.random.split(jax.random.key(1), n_chains)
        return jax.vmap(lambda key: visit(method, key, target, n_steps))(keys)

    return run


def changed(target: Target, **fields: Any) -> Target:
    return dataclasses.replace(target, **fields)


def imputed(rows: Rows, drawn: jax.Array) -> np.ndarray:
    """Return the imputed values of all chains."""
    return rows.table(drawn)[:, ~rows.seen]


def assert_finite(state: Any) -> None:
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("name", "double"),
    [*((name, True) for name in CATEGORIES), ("2l.ordinal", False), ("2l.nominal", False)],
)
def test_nothing_breaks_where_data_say_little(name: str, double: bool) -> None:
    """Finite, and only categories that were seen; one program for all cases."""
    K = CATEGORIES[name]
    rng = np.random.default_rng(1)
    any_y = rng.integers(0, K, len(ROWS.cluster)).astype(float)
    split = (ROWS.Z[1] > 0) * (K - 1.0)
    lopsided = np.where(ROWS.cluster % 2 == 0, 0, any_y)
    with jax.enable_x64(double):
        run = visits(name, K)
        plain = ROWS.target(any_y)
        dead = jnp.zeros(2, bool)
        none = {"z_live": dead, "f_live": dead}
        none |= {part: 0 * getattr(plain, part) for part in ("z_shared", "z_chain")}
        none |= {part: 0 * getattr(plain, part) for part in ("f_shared", "f_chain")}
        cases = {
            "any": plain,
            "a predictor separates": ROWS.target(split),
            "clusters of zeros": ROWS.target(lopsided),
            "only the first": ROWS.target(0 * any_y),
            "only the last": ROWS.target(0 * any_y + K - 1),
            "gaps": ROWS.target(np.where(any_y > K / 2, 3.0 % K, 1.0)),
            "a column twice": changed(plain, f_shared=plain.z_chain),
            "constant columns": changed(plain, f_shared=plain.z_shared, z_chain=plain.z_shared),
            "no predictor": changed(plain, **none),
            "huge predictor": changed(plain, f_shared=1e4 * plain.f_shared),
        }
        for case, target in cases.items():
            state, drawn = run(target)
            assert_finite(state)
            observed = np.unique(np.asarray(target.y)[np.asarray(target.ry)])
            values = imputed(ROWS, drawn)
            if name == "2l.bin":
                # Two categories exist, whatever was seen.
                assert np.all(np.isin(values, [0, 1]))
                assert case != "only the first" or np.mean(values) < 0.15
            else:
                assert np.all(np.isin(values, observed)), (case, np.unique(values), observed)
            if case == "any":
                assert len(np.unique(values)) > 1
            if case == "a predictor separates":
                # What separates the seen rows nearly separates the others.
                assert np.mean(values == split[~ROWS.seen]) > 0.75


@pytest.mark.parametrize("name", ["2l.ordinal", "2l.nominal"])
def test_without_any_random_effect(name: str) -> None:
    """No column of Z at all: the single-level model."""
    K = CATEGORIES[name]
    rows = ragged(SIZES, SEEN, 0, 2, seed=6, n_shared=(0, 2))
    y = np.random.default_rng(1).integers(0, K, len(rows.cluster)).astype(float)
    state, drawn = visits(name, K)(rows.target(y))
    assert_finite(state)
    assert len(np.unique(imputed(rows, drawn))) > 1


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_shift_moves_the_linear_predictor(name: str) -> None:
    """Far up: the last category, or for unordered ones any but the first; far down: the first."""
    K = CATEGORIES[name]
    y = np.random.default_rng(1).integers(0, K, len(ROWS.cluster)).astype(float)
    target, run = ROWS.target(y), visits(name, K)
    far = 1e3 * jnp.ones(target.y.shape)
    low, none, high = (
        imputed(ROWS, run(changed(target, delta=shift))[1]) for shift in (-far, 0 * far, far)
    )
    assert np.all(low == 0)
    assert len(np.unique(none)) > 1
    if name == "2l.nominal":
        assert np.all(high > 0)
        assert len(np.unique(high)) > 1
    else:
        assert np.all(high == K - 1)


def test_two_unordered_categories_are_the_binary_model() -> None:
    """The same chances of every missing cell, from another sampler."""
    rows = ragged((7, 7, 6, 3), (5, 5, 5, 0), 1, 1, seed=4, n_shared=(1, 1))
    y = (rows.F[0] + np.repeat([0.7, -0.4], [12, 11]) > 0).astype(float)
    target, n = rows.target(y), 4_000
    ones = [
        np.sum(imputed(rows, visits(name, 2, n, 60)(target)[1]), axis=0)
        for name in ("2l.bin", "2l.nominal")
    ]
    tables = [[[a, n - a], [b, n - b]] for a, b in zip(*ones, strict=True)]
    pvalues = [stats.fisher_exact(table).pvalue for table in tables]
    assert bonferroni(pvalues) > FALSE_ALARM_RATE
    a = ones[0][0]
    assert stats.fisher_exact([[a, n - a], [a + 200, n - a - 200]]).pvalue < FALSE_ALARM_RATE


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    J, n = 25, 12
    g = np.repeat(np.arange(J), n)
    x = rng.normal(size=J * n)
    eta = 0.8 * x + rng.normal(size=J)[g] * 0.8
    data: dict[str, Any] = {"g": g, "x": x, "mean": eta}
    noise = rng.normal(size=(3, J * n))
    ordered = pd.Categorical.from_codes(
        np.digitize(eta + noise[1], [-1, 0, 1]), ["low", "some", "more", "high"], ordered=True
    )
    unordered = pd.Categorical.from_codes(
        np.argmax([noise[2], eta, -eta], axis=0), ["red", "green", "blue"]
    )
    data |= {"yes": (eta + noise[0] > 0).astype(float), "rank": ordered, "colour": unordered}
    df = pd.DataFrame(data)
    for k, name in enumerate(("yes", "rank", "colour")):
        # Sporadic, and three clusters without any value.
        df.loc[(rng.uniform(size=J * n) < 0.25) | np.isin(g, [k, 5, 9]), name] = None
    return df


def test_through_the_front_door(frame: pd.DataFrame) -> None:
    """Three columns of three kinds, each a predictor of the others, some rows ignored."""
    data = frame.drop(columns="mean")
    method = {"yes": "2l.bin", "rank": "2l.ordinal", "colour": "2l.nominal"}
    ignore = np.zeros(len(data), bool)
    ignore[::17] = True
    result = jm.mice(data, 3, method, cluster="g", seed=1, maxit=2, ignore=ignore)
    for completed in result.complete("all").values():
        assert not completed.isna().any().any()
        assert completed["rank"].dtype == data["rank"].dtype
        assert completed["colour"].dtype == data["colour"].dtype
        assert set(completed["yes"]) == {0.0, 1.0}
        for name in method:
            seen = data[name].notna()
            assert (completed[name][seen] == data[name][seen]).all()
        # Clusters that are high on the latent scale are imputed high.
        ranks = completed["rank"].cat.codes[data["rank"].isna()]
        assert np.corrcoef(ranks, frame["mean"][data["rank"].isna()])[0, 1] > 0.2
    again = jm.mice(data, 3, method, cluster="g", seed=1, maxit=2, ignore=ignore)
    pd.testing.assert_frame_equal(again.complete(2), result.complete(2))


@pytest.mark.parametrize("name", ["2l.bin", "2l.2stage.bin", "2l.ordinal", "2l.nominal"])
def test_options(name: str) -> None:
    method = REGISTRY[name]
    assert method.option_names() == ["inner_iter", "burnin", "restart"]
    assert method().schedule(first=True) == (100, True)
    assert method().schedule(first=False) == (10, False)
    assert method.from_options(restart=True).schedule(first=False) == (100, True)
    with pytest.raises(ModelError, match="burnin must be a positive integer"):
        method.from_options(burnin=0)
