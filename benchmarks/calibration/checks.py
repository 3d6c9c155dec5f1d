"""The two tests, run on a case: ranks, and steps from an exact start."""

import time
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from scipy import stats

from benchmarks.calibration.case import Case
from benchmarks.calibration.ranks import effective_share, gamma_pvalue, gamma_statistic, ranks_of
from jaxmice.engine.compiling import compiler_options

LEVEL = 1e-4
"""Chance that one quantity fails one test although the sampler is right."""

PER_SIMULATION = 20
"""Exact starts for every simulation that is ranked: a few steps cost little."""


OVERFLOWING = 1e-4
"""Share of exact starts that may be left out in single precision for numbers out of its range."""


@dataclass(frozen=True)
class Found:
    """The most suspicious quantity of one test."""

    quantity: str
    pvalue: float
    n_quantities: int

    @property
    def red(self) -> bool:
        """Whether the test fails."""
        return self.pvalue < LEVEL


class Program:
    """The compiled functions of a case, one for all tests and all mistakes."""

    def __init__(self, case: Case, n: int) -> None:
        """Prepare ``n`` replicates at a time."""
        self.case, self.n = case, n

    @cached_property
    def begin(self) -> Any:
        """Return truth, values, start and the quantities of the truth."""

        def one(key: Key[Array, ""]) -> tuple[Any, Any, Any, Any]:
            key_truth, key_start = jax.random.split(key)
            truth, y = self.case.simulate(key_truth)
            quantities = self.case.quantities(truth, y)
            return truth, y, self.case.start(key_start, y), quantities

        def many(key: Key[Array, ""]) -> tuple[Any, Any, Any, Any]:
            return jax.vmap(one)(jax.random.split(key, self.n))

        return jax.jit(many, compiler_options=compiler_options())

    @cached_property
    def advance(self) -> Any:
        """Return the state after some steps, and its quantities with new imputations."""

        def one(
            key: Key[Array, ""], state: Any, y: Any, n_steps: Int[Array, ""], which: Int[Array, ""]
        ) -> tuple[Any, Any]:
            key_run, key_impute = jax.random.split(key)
            numbers = {name: i for i, name in enumerate(self.case.twins)}

            def made(name: str) -> Bool[Array, ""]:
                # Mistakes that a case does not list are never made.
                return which == numbers.get(name, len(numbers))

            state = self.case.run(key_run, state, y, n_steps, made)
            return state, self.case.quantities(state, self.case.impute(key_impute, state, y))

        def many(
            key: Key[Array, ""], state: Any, y: Any, n_steps: Int[Array, ""], which: Int[Array, ""]
        ) -> tuple[Any, Any]:
            keys = jax.random.split(key, self.n)
            return jax.vmap(one, in_axes=(0, 0, 0, None, None))(keys, state, y, n_steps, which)

        return jax.jit(many, compiler_options=compiler_options())

    def which(self, twin: str | None) -> Int[Array, ""]:
        """Return the number of a mistake, -1 for none."""
        return jnp.asarray(-1 if twin is None else self.case.twins.index(twin))


def root_key(case: Case, seed: int) -> Key[Array, ""]:
    """Return a key of the case's own."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(case.name.encode()))


def check_ranks(
    program: Program, simulations: int, seed: int, twin: str | None = None
) -> tuple[Found, float]:
    """Rank the truth among draws from the sampler's own start; return also the effective share."""
    case, which = program.case, program.which(twin)
    root = jax.random.fold_in(root_key(case, seed), 1)
    truths, drawn = [], []
    for part in range(-(-simulations // program.n)):
        key = jax.random.fold_in(root, part)
        _, y, state, truth = program.begin(jax.random.fold_in(key, 0))
        steps = jnp.asarray(case.burnin)
        rows = []
        for draw in range(case.n_draws):
            state, row = program.advance(jax.random.fold_in(key, draw + 1), state, y, steps, which)
            steps = jnp.asarray(case.thin)
            rows.append(row)
        truths.append(jax.tree.map(np.asarray, truth))
        drawn.append({name: np.stack([row[name] for row in rows]) for name in truth})
    values, shares = {}, []
    for name in truths[0]:
        truth = np.concatenate([part[name] for part in truths])
        draws = np.concatenate([part[name] for part in drawn], axis=1)
        finite = bool(np.all(np.isfinite(truth)) and np.all(np.isfinite(draws)))
        ranks = ranks_of(truth, draws, seed)
        values[name] = gamma_statistic(ranks, case.n_draws) if finite else 0.0
        shares.append(effective_share(draws) if finite else 0.0)
    worst = min(values, key=values.__getitem__)
    n = len(ranks)
    return Found(worst, gamma_pvalue(values[worst], n, case.n_draws), len(values)), min(shares)


def check_start(program: Program, simulations: int, seed: int, twin: str | None = None) -> Found:
    """Compare every quantity before and after a few steps from the truth.

    The differences within replicates are independent. On the scale of ranks their mean must
    be zero, and so must that of the differences in distance from the middle.
    """
    which, root = program.which(twin), jax.random.fold_in(root_key(program.case, seed), 2)
    before, after = [], []
    for part in range(-(-PER_SIMULATION * simulations // program.n)):
        key = jax.random.fold_in(root, part)
        truth, y, _, quantities = program.begin(jax.random.fold_in(key, 0))
        steps = jnp.asarray(program.case.n_steps)
        _, moved = program.advance(jax.random.fold_in(key, 1), truth, y, steps, which)
        before.append(jax.tree.map(np.asarray, quantities))
        after.append(jax.tree.map(np.asarray, moved))
    pairs = {
        name: np.array([np.concatenate([part[name] for part in side]) for side in (before, after)])
        for name in before[0]
    }
    # A heavy-tailed prior now and then draws what overflows in single precision.
    finite = np.all([np.isfinite(pair).all(axis=0) for pair in pairs.values()], axis=0)
    single = all(pair.dtype == np.float32 for pair in pairs.values())
    few = single and np.mean(~finite) <= OVERFLOWING
    kept = finite if few else np.full(finite.shape, True)
    values = {name: paired_pvalue(*pairs[name][..., kept]) for name in pairs}
    worst = min(values, key=values.__getitem__)
    return Found(worst, values[worst], len(values))


def paired_pvalue(before: Float[np.ndarray, " n"], after: Float[np.ndarray, " n"]) -> float:
    """Return the p-value of "same law" from pairs that are independent of each other."""
    n = len(before)
    both = np.concatenate([before, after])
    if not np.all(np.isfinite(both)):
        return 0.0
    place = stats.rankdata(both) / (2 * n + 1) - 0.5
    found = []
    for score in (place, place**2):
        difference = score[n:] - score[:n]
        spread = difference.std(ddof=1)
        z = np.sqrt(n) * difference.mean() / spread if spread > 0 else 0.0
        found.append(2 * stats.norm.sf(abs(z)))
    return float(min(1.0, 2 * min(found)))


@dataclass(frozen=True)
class Result:
    """What became of one case."""

    case: Case
    ranks: Found
    start: Found | None
    effective: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no test fails."""
        return not self.ranks.red and (self.start is None or not self.start.red)


def check(program: Program, simulations: int, seed: int) -> Result:
    """Put a case to both tests."""
    began, case = time.perf_counter(), program.case
    ranks, effective = check_ranks(program, simulations, seed)
    start = check_start(program, simulations, seed) if case.n_steps else None
    return Result(case, ranks, start, effective, time.perf_counter() - began)


@dataclass(frozen=True)
class Twin:
    """How a mistake showed."""

    case: Case
    mistake: str
    test: str
    found: Found


def check_twin(program: Program, simulations: int, seed: int, mistake: str) -> Twin:
    """Make a mistake and look for it: by the exact start, and by ranks if that sees nothing."""
    case = program.case
    if case.n_steps:
        found = check_start(program, simulations, seed, mistake)
        if found.red:
            return Twin(case, mistake, "exact start", found)
    found, _ = check_ranks(program, simulations, seed, mistake)
    return Twin(case, mistake, "ranks", found)
