"""Random bits, uniforms and normals by counter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.random import bits, normals, row_normals, row_uniforms, uniforms
from tests.statistics import FALSE_ALARM_RATE, bonferroni, normal_pvalues

pytestmark = pytest.mark.usefixtures("double_precision")

N = 40_000


def test_bits_are_those_behind_fold_in() -> None:
    key = jax.random.key(42)
    k0, k1 = np.asarray(jax.random.key_data(key))
    for data in (0, 1, 7, 2**31, 2**32 - 1):
        expected = jax.random.key_data(jax.random.fold_in(key, np.uint32(data)))
        with np.errstate(over="ignore"):
            words = bits.threefry(k0, k1, np.uint32(0), np.uint32(data))
        assert tuple(words) == tuple(np.asarray(expected))


def test_numpy_and_jax_agree() -> None:
    words = np.random.default_rng(1).integers(0, 2**32, (4, 50), dtype=np.uint32)
    with np.errstate(over="ignore"):
        expected = bits.threefry(*words)
    actual = jax.jit(bits.threefry)(*(jnp.asarray(word) for word in words))
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniforms_and_normals_follow_their_laws(dtype: str) -> None:
    key = jax.random.key(5)
    first = np.asarray(uniforms(key, jnp.asarray(0), (N,), jnp.dtype(dtype)), float)
    second = np.asarray(uniforms(key, jnp.asarray(1), (N,), jnp.dtype(dtype)), float)
    z = np.asarray(normals(key, jnp.asarray(2), (N,), jnp.dtype(dtype)), float)
    # Neighbours in one draw and the same place of two draws must not know each other.
    sum_of_pair = stats.triang(0.5, 0, 2).cdf
    pvalues = [
        stats.kstest(first, "uniform").pvalue,
        stats.kstest(z, "norm").pvalue,
        stats.kstest(first + second, sum_of_pair).pvalue,
        stats.kstest(first[::2] + first[1::2], sum_of_pair).pvalue,
        stats.kstest((z[::2] + z[1::2]) / np.sqrt(2), "norm").pvalue,
    ]
    assert bonferroni(pvalues) > FALSE_ALARM_RATE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_a_row_are_independent_and_rows_at_the_end_move_none(dtype: str) -> None:
    key, at = jax.random.key(6), jnp.asarray(3)
    z = np.asarray(row_normals(key, at, (3, N // 4, 4), jnp.dtype(dtype)), float)
    u = np.asarray(row_uniforms(key, at + 1, (3, N // 4, 4), jnp.dtype(dtype)), float)
    few = np.asarray(row_normals(key, at, (3, N // 8, 4), jnp.dtype(dtype)), float)
    np.testing.assert_array_equal(few, z[:, : N // 8])
    flat = z.reshape(3, N).T
    # The first and the third come from one pair of bits.
    assert bonferroni(normal_pvalues(flat, np.zeros(3), np.eye(3))) > FALSE_ALARM_RATE
    assert abs(stats.spearmanr(flat[:, 0] ** 2, flat[:, 2] ** 2)[0]) < 4 / np.sqrt(N)
    uniform = stats.norm.ppf(u.reshape(3, N).T)
    assert bonferroni(normal_pvalues(uniform, np.zeros(3), np.eye(3))) > FALSE_ALARM_RATE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_the_interval_is_open_at_its_ends(
    monkeypatch: pytest.MonkeyPatch, dtype: str, word: int
) -> None:
    """Also the smallest and the largest pattern of bits give a finite normal and log."""

    def constant(k0: jax.Array, k1: jax.Array, x0: jax.Array, x1: jax.Array) -> tuple:
        del k0, k1, x1
        return jnp.full_like(x0, word), jnp.full_like(x0, word)

    monkeypatch.setattr(bits, "threefry", constant)
    u = uniforms(jax.random.key(0), jnp.asarray(0), (3,), jnp.dtype(dtype))
    half_step = 2.0**-53 if dtype == "float64" else 2.0**-24

    assert u.dtype == dtype
    assert np.all((u > 0) & (u < 1))
    np.testing.assert_array_equal(np.asarray(u), 1 - half_step if word else half_step)
    assert np.all(np.isfinite(normals(jax.random.key(0), jnp.asarray(0), (3,), jnp.dtype(dtype))))


def test_a_draw_has_an_address() -> None:
    """Another counter is another draw, and a longer first axis changes no number."""
    key = jax.random.key(3)
    dtype = jnp.dtype("float64")
    other = uniforms(key, jnp.asarray(4), (2, 3), dtype)
    short = uniforms(key, jnp.asarray(9), (2, 3), dtype)
    alone = uniforms(key, jnp.asarray(9), (5, 3), dtype)
    other_key = uniforms(jax.random.key(4), jnp.asarray(9), (5, 3), dtype)

    np.testing.assert_array_equal(short, alone[:2])
    everything = np.concatenate([np.ravel(other), np.ravel(alone)])
    assert len(np.unique(everything)) == other.size + alone.size
    assert not np.any(np.isin(other_key, alone))
