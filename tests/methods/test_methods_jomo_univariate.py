"""Method ``2l.jomo`` against closed forms and against a sampler that shares none of its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.methods import REGISTRY
from jaxmice.methods.two_level_bin import TwoLevelStagesBin
from jaxmice.methods.two_level_jomo import TwoLevelJomo
from jaxmice.samplers import joint_latent as jl
from tests.samplers.rows import ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

N_CHAINS, N_STEPS = 600, 300


def test_two_categories_are_a_probit_with_all_slopes_random() -> None:
    """The laws of fixed effects and of Psi agree with ``2l.2stage.bin``."""
    rows = ragged((9, 8, 7, 6, 0, 8), (8, 6, 7, 5, 0, 6), 1, 1, seed=4, n_shared=(1, 1))
    rng = np.random.default_rng(1)
    y = (rows.X[:, 1] + rng.normal(size=len(rows.cluster)) > 0).astype(float)

    def draws(method: TwoLevelJomo | TwoLevelStagesBin, seed: int) -> np.ndarray:
        @jax.jit
        def chains(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
            sums = method.read(rows.target(y))
            start = method.init(keys[0], sums)
            after = jax.vmap(lambda k: method.step(k, start, sums, jnp.asarray(N_STEPS)))(keys)
            own = after.level1 if isinstance(after, jl.State) else after
            return own.beta.reshape(len(keys), -1), own.root_psi

        beta, root = map(np.asarray, chains(jax.random.split(jax.random.key(seed), N_CHAINS)))
        live = np.any(beta != 0, axis=0)
        psi = np.einsum("nik,njk->nij", root, root)
        return np.column_stack([beta[:, live], np.log(np.einsum("nii->ni", psi))])

    one = draws(TwoLevelJomo().for_column("binary", 2), 1)
    other = draws(TwoLevelStagesBin(), 2)
    assert one.shape == other.shape
    pvalues = [stats.ks_2samp(a, b).pvalue for a, b in zip(one.T, other.T, strict=True)]
    assert bonferroni(pvalues) > FALSE_ALARM_RATE
    # Half a standard deviation would be seen.
    assert stats.ks_2samp(one[:, 0] + 0.5 * one[:, 0].std(), other[:, 0]).pvalue < FALSE_ALARM_RATE


def test_the_default_table_of_micemd_names_it() -> None:
    """No name of that table is unknown (E21)."""
    assert REGISTRY["2l.jomo"] is TwoLevelJomo
