"""Whether a sampler keeps the joint law of its model, and its wrong twins are seen not to.

Draw parameters from the prior and data given them, then take steps with the data held
fixed: the parameters must follow the prior again (Geweke 2004, Journal of the American
Statistical Association 99, 799-804). A wrong twin is the sampler with one mistake in it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue, first_alarm

N_PARTS = 4
"""Most mistakes show in the first part of the replicates."""

Draws = dict[str, np.ndarray]
Made = Callable[[str], jax.Array]
"""Whether the mistake of this name is made, traced."""


def unfold(draws: Mapping[str, Any]) -> Draws:
    """Name every component of every quantity."""
    out: Draws = {}
    for name, values in draws.items():
        array = np.asarray(values)
        if array.ndim == 1:
            out[name] = array
        else:
            out |= {f"{name}[{i}]": array[:, i] for i in range(array.shape[1])}
    return out


def check_joint_law(
    patch: pytest.MonkeyPatch,
    replicate: Callable[[jax.Array], Any],
    expected: Mapping[str, Cdf],
    put_twins: Callable[[pytest.MonkeyPatch, Made], None],
    twins: tuple[str, ...],
    *,
    n_replicates: int,
    seed: int,
    quantities: Callable[..., Draws] = unfold,
) -> Draws:
    """Check the sampler and all its wrong twins; return the sampler's draws.

    All come from one program: an argument says which mistake is made.

    Parameters
    ----------
    replicate
        Draws parameters and data, takes steps, returns what ``quantities`` reads.
    expected
        The law of every quantity under the model.
    put_twins
        Puts all mistakes into the sampler.
    quantities
        Names every quantity, from the results of all replicates.
    """

    def program(keys: jax.Array, mistake: jax.Array) -> Any:
        def made(name: str) -> jax.Array:
            return mistake == (twins.index(name) if name in twins else len(twins))

        with patch.context() as context:
            put_twins(context, made)
            return jax.vmap(replicate)(keys)

    compiled = jax.jit(program)
    parts = jax.random.split(jax.random.key(seed), (N_PARTS, n_replicates // N_PARTS))

    def draw(mistake: int, n_parts: int = N_PARTS) -> Draws:
        drawn = [compiled(keys, jnp.asarray(mistake)) for keys in parts[:n_parts]]
        return quantities(jax.tree.map(lambda *part: np.concatenate(part), *drawn))

    right = draw(-1)
    assert adjusted_pvalue(right, expected) > FALSE_ALARM_RATE
    wrong = {
        name: first_alarm(lambda n, i=i: adjusted_pvalue(draw(i, n), expected), (1, N_PARTS))
        for i, name in enumerate(twins)
    }
    assert max(wrong.values()) < FALSE_ALARM_RATE, wrong
    return right
