"""The chained-equations loop: iterations and blocks in plain Python."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np

from jaxmice.engine import compiling, streams
from jaxmice.engine.precision import default_device, platform, precision_scope, resolve
from jaxmice.engine.problem import Problem, Step
from jaxmice.engine.visit import Trace, blank_state, signature
from jaxmice.errors import RunError
from jaxmice.events import EventLog

MAX_BAD = 0.01
"""Share of a target's imputed cells that may be non-finite before a run is stopped."""

WORTH_A_CORE = 100_000
"""Cells of a column, over chains and data sets, that are worth a core of their own."""

Progress = Callable[[int, str], None]
"""Called after every visit with the iteration and the block."""


@dataclass
class Chunk:
    """Some chains that are run together."""

    chains: np.ndarray
    keep: int
    """Chains that were asked for; further ones only fill up the shape."""

    columns: Any = None
    states: dict[tuple[str, str], Any] = field(default_factory=dict)
    drawn: dict[str, Any] = field(default_factory=dict)
    computed: Any = None
    """Traces and reports of passive columns."""

    processed: dict[str, Any] = field(default_factory=dict)
    """Reports of post-processing, by column."""


class Session:
    """Chains of a run between visits: can be advanced, read, and advanced again.

    Parameters
    ----------
    problem
        The run as arrays.
    chains
        Numbers of the imputations, from one.
    seed
        Seed of all random streams.
    precision, device
        Where and how to compute.
    chunk_chains
        Chains to run together; ``None`` for as many as memory allows.
    events
        Log for what happens on the way.
    """

    def __init__(
        self,
        problem: Problem,
        chains: Sequence[int],
        seed: int,
        *,
        precision: str,
        device: Any,
        chunk_chains: int | None,
        events: EventLog,
    ) -> None:
        self.seed, self.precision, self.device = seed, precision, device
        self.chains = np.asarray(chains)
        self.iteration = 0
        self.events = events
        self.seconds = 0.0
        self.traces: list[dict[str, dict[str, np.ndarray]]] = []
        with self._scope():
            self.problem = _move(problem, jax.device_put)
            self._roots = streams.root_keys(seed, problem.n_replications)
            if problem.same_streams:
                self._roots = np.broadcast_to(self._roots[0], self._roots.shape)
        size: int = chunk_chains or _affordable(problem, len(self.chains), precision, device)
        n_chunks = -(-len(self.chains) // size)
        # Chunks that would not fit into memory together run one after another.
        self._together = chunk_chains is None and n_chunks == 1
        if self._together:
            n_chunks = _split(problem, len(self.chains), self._n_cores)
        # Equal chunks share one program; the last is filled up with further chains.
        size = -(-len(self.chains) // n_chunks)
        last = int(self.chains[-1])
        filled = np.concatenate(
            [self.chains, last + 1 + np.arange(n_chunks * size - len(self.chains))]
        )
        wanted = len(self.chains) - size * np.arange(n_chunks)
        self._chunks = [
            Chunk(part, min(size, int(keep)))
            for part, keep in zip(np.split(filled, n_chunks), wanted, strict=True)
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes with NumPy's arrays: JAX's would be read in its own precision."""
        chunks = [Chunk(**_to_numpy(vars(chunk))) for chunk in self._chunks]
        problem = _move(self.problem, _to_numpy)
        device = self.device and self.device.platform
        return vars(self) | {"problem": problem, "_chunks": chunks, "device": device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Place what `__getstate__` returned."""
        vars(self).update(state)
        self.device = state["device"] and resolve(state["device"], self.precision)[0]
        with self._scope():
            self.problem = _move(self.problem, jax.device_put)

    def _scope(self) -> Any:
        return precision_scope(self.precision, self.device)

    @property
    def _n_cores(self) -> int:
        """Cores of a CPU that this process may use; one where the device is another."""
        if platform(self.device) != "cpu":
            return 1
        get = getattr(os, "sched_getaffinity", None)
        return len(get(0)) if get else os.cpu_count() or 1

    def _in_threads(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """Do some work on all parts, each on a core: XLA runs most of a visit on one."""
        default = default_device()

        def scoped(part: Any) -> Any:
            # What a thread sees of JAX's settings is not what its parent set for itself.
            with jax.default_device(default), self._scope():
                return work(part)

        with ThreadPoolExecutor(min(len(parts), self._n_cores)) as pool:
            return list(pool.map(scoped, parts))

    def _compile(self) -> None:
        """Compile what was never compiled, several programs at a time."""
        chunk, new = self._chunks[0], {}
        for step in self.problem.steps:
            if self._name(step) in chunk.states:
                continue
            own = (self._signature(step, chunk), self.precision, self.device)
            if own not in _COMPILED:
                new[own] = step
        _COMPILED.update(new)
        if len(new) > 1 and self._n_cores > 1:

            def compile_one(step: Step) -> None:
                visit, arguments, options = self._call(step, chunk, self._blank_state(step, chunk))
                visit.lower(*arguments, **options).compile()

            self._in_threads(compile_one, list(new.values()))

    def advance(
        self,
        n_iterations: int,
        progress: Progress | None = None,
        after: Callable[[], None] | None = None,
    ) -> bool:
        """Run some iterations; return False if an interrupt ended the run before.

        A first interrupt (Ctrl-C) ends the run after the iteration at hand, with
        everything done so far; a second one stops at once. `after` is called at the end of
        each iteration.

        Raises
        ------
        RunError
            E31: more than one per cent of a target's draws were not finite.
        """
        began = time.perf_counter()
        last = self.iteration + n_iterations
        with self._scope(), _interruptible() as interrupted:
            self._begin(read=n_iterations == 0 or self.problem.reads_chains)
            if n_iterations:
                self._compile()
            for _ in range(n_iterations):
                self.iteration += 1
                traces = [self._visit(step, progress) for step in self.problem.steps]
                self._record(traces)
                if after is not None:
                    after()
                if interrupted():
                    break
        self.seconds += time.perf_counter() - began
        return self.iteration == last

    def _begin(self, *, read: bool) -> None:
        """Fill the missing cells with starting values, once; zeros where nobody reads them."""
        problem = self.problem
        R, _, K, B = problem.data.observed.shape
        for chunk in self._chunks:
            if chunk.columns is not None:
                continue
            if problem.start is not None:
                size = len(chunk.chains)
                chunk.columns = jnp.repeat(problem.start[:, None], size, axis=1)
            elif not read or not problem.carried:
                # At least one column, so that programs have something to index.
                shape = (R, len(chunk.chains), max(len(problem.carried), 1), K, B)
                chunk.columns = np.zeros(shape, problem.data.observed.dtype)
            else:
                keys = self._keys(chunk, 0, "", 0)
                names = [problem.targets[index].encode() for index in problem.carried]
                chunk.columns = compiling.start_columns()(
                    keys,
                    np.array([crc32(name) for name in names], np.uint32),
                    problem.data,
                    carried=problem.carried,
                )
            self._synchronise(chunk)
        self._check_between()

    @staticmethod
    def _name(step: Step) -> tuple[str, str]:
        """Return block and targets of a visit: visits of the same share their state."""
        return step.block, "+".join(step.targets)

    def _signature(self, step: Step, chunk: Chunk) -> Any:
        return signature(
            step.method, self.problem.data, step.spec, chunk.columns, uses_means=step.uses_means
        )

    def _blank_state(self, step: Step, chunk: Chunk) -> Any:
        return blank_state(
            step.method,
            self.problem.data,
            step.spec,
            chunk.columns,
            uses_means=step.uses_means,
            leave_one_out=self.problem.leave_one_out,
        )

    def _keys(self, chunk: Chunk, iteration: int, block: str, number: int) -> Any:
        return streams.visit_keys(self._roots, chunk.chains, iteration, block, number)

    def _visit(self, step: Step, progress: Progress | None) -> list[Trace]:
        """Visit one target in all chains."""
        if self._together and len(self._chunks) > 1:
            traces = self._in_threads(partial(self._finish_chunk, step), self._chunks)
        else:
            traces = [self._visit_chunk(step, chunk) for chunk in self._chunks]
        if progress is not None:
            jax.block_until_ready(traces)
            progress(self.iteration, step.block)
        return traces

    def _visit_chunk(self, step: Step, chunk: Chunk) -> Trace:
        key = self._name(step)
        first = key not in chunk.states
        state = self._blank_state(step, chunk) if first else chunk.states[key]
        visit, arguments, options = self._call(step, chunk, state, first=first)
        chunk.columns, drawn, chunk.states[key], trace = visit(*arguments, **options)
        chunk.drawn.update(zip(step.targets, drawn, strict=True))
        return self._follow(chunk, step, trace)

    def _finish_chunk(self, step: Step, chunk: Chunk) -> Trace:
        """Visit one target in some chains and wait: else one core would do what all ask for."""
        return jax.block_until_ready(self._visit_chunk(step, chunk))

    def _call(
        self, step: Step, chunk: Chunk, state: Any, *, first: bool = True
    ) -> tuple[Any, tuple[Any, ...], dict[str, bool]]:
        """Return the compiled visit of a step, and what it is called with."""
        problem, (block, name) = self.problem, self._name(step)
        n_steps, fresh = step.method.schedule(first=first)
        arguments = (
            self._keys(chunk, self.iteration, f"{block}/{name}", step.number),
            step.method,
            problem.data,
            step.spec,
            chunk.columns,
            state,
            np.asarray(fresh),
            np.asarray(n_steps),
        )
        # Not by the number of chains: more imputations are to begin alike.
        wide = sum(step.spec.widths) > compiling.WIDE
        small = problem.data.layout.row_live.size < compiling.SMALL
        visit = compiling.visit(plain=wide or small or step.method.runs_plainly)
        options = {"uses_means": step.uses_means, "leave_one_out": problem.leave_one_out}
        return visit, arguments, options

    def _follow(self, chunk: Chunk, step: Step, trace: Trace) -> Trace:
        """Process what a visit drew, and compute what depends on it."""
        between = self.problem.between
        if between is None:
            return trace
        for slot, target in enumerate(step.targets):
            if target not in between.steps:
                continue
            chunk.columns, chunk.drawn[target], trace, chunk.processed[target] = (
                compiling.process()(
                    between.steps[target],
                    target=target,
                    names=between.names,
                    values=between.values,
                    data=self.problem.data,
                    columns=chunk.columns,
                    drawn=chunk.drawn[target],
                    trace=trace,
                    slot=slot,
                )
            )
        if not between.ingredients.isdisjoint(step.targets):
            self._synchronise(chunk)
        return trace

    def _synchronise(self, chunk: Chunk) -> None:
        """Compute the passive columns."""
        between = self.problem.between
        if between is None or not between.rules:
            return
        chunk.columns, traces, reports = compiling.recompute()(
            rules=between.rules,
            names=between.names,
            values=between.values,
            data=self.problem.data,
            columns=chunk.columns,
        )
        chunk.computed = traces, reports

    def _check_between(self) -> None:
        """Stop where a computed or processed value is not finite."""
        between = self.problem.between
        if between is None:
            return
        for chunk in self._chunks:
            found = {f"post-processing of {name!r}": r for name, r in chunk.processed.items()}
            if between.rules:
                rules = zip(between.rules, chunk.computed[1], strict=True)
                found |= {f"rule of {name!r}": report for (name, _), report in rules}
            for what, report in found.items():
                place = f"{what}, iteration {self.iteration}"
                kept = jax.tree.map(lambda leaf, keep=chunk.keep: leaf[:, :keep], report)
                n_clipped = int(np.sum(kept.n_clipped))
                if n_clipped:
                    self.events.add(
                        "post_clip",
                        f"{place}: {n_clipped} values were outside of the bounds after all draws "
                        "and were moved to the nearest; widen the bounds, or take method 'pmm'",
                        it=self.iteration,
                    )
                if message := between.complain(place, kept, self.problem, chunk.chains):
                    raise RunError("E31", message)

    def _record(self, traces: list[list[Trace]]) -> None:
        """Fetch what an iteration reported and act on non-finite draws."""
        self._check_between()
        now: dict[str, dict[str, np.ndarray]] = {}
        for step, parts in zip(self.problem.steps, traces, strict=True):
            fetched = self._fetch(parts)
            for i, target in enumerate(step.targets):
                now[target] = {name: values[..., i] for name, values in fetched.items()}
                self._complain(step, target, now[target])
        between = self.problem.between
        for i, (name, _) in enumerate(between.rules if between else ()):
            now[name] = self._fetch([chunk.computed[0][i] for chunk in self._chunks])
        self.traces.append(now)

    def _fetch(self, parts: Sequence[Trace]) -> dict[str, np.ndarray]:
        names = ("mean", "variance", "between", "within", "n_bad", "bad_cluster")
        return {name: self._gather([getattr(part, name) for part in parts]) for name in names}

    def _complain(self, step: Step, target: str, trace: dict[str, np.ndarray]) -> None:
        bad = trace["n_bad"]
        if not bad.any():
            return
        index = self.problem.targets.index(target)
        wanted = np.asarray(self.problem.data.where[:, index]).sum(axis=(1, 2))
        replication, chain = np.unravel_index(np.argmax(bad), bad.shape)
        count, cluster = int(bad[replication, chain]), int(trace["bad_cluster"][replication, chain])
        number = int(self.chains[chain])
        labels = self.problem.cluster_labels[replication]
        label = labels[cluster] if cluster < len(labels) else cluster
        place = (
            f"block {step.block!r}, iteration {self.iteration}, chain {number}, "
            f"first in cluster {label!r}: {count} non-finite draws"
        )
        if count > MAX_BAD * wanted[replication]:
            hint = f"likely cause: {step.method.bad_draws}"
            if self.precision == "float32":
                hint += ", or use precision='float64'"
            raise RunError("E31", f"{place}; {hint}")
        self.events.add(
            "nonfinite",
            f"{place}; these cells kept the value they had",
            it=self.iteration,
            im=number,
            dep=target,
            meth=step.method.name,
        )

    def begin_with(self, target: str, place: np.ndarray, values: np.ndarray) -> None:
        """Give cells of a carried column a starting value in every chain.

        Parameters
        ----------
        target
            The column.
        place
            Where the cells lie in a flattened (K, B) array, (k,).
        values
            On the sampler's scale, (m, k).
        """
        column = self.problem.carried.index(self.problem.targets.index(target))
        with self._scope():
            self._begin(read=True)
            for chunk in self._chunks:
                # Chains that only fill up a chunk begin as the last one does.
                chains = np.minimum(chunk.chains, len(values)) - 1
                columns = np.array(chunk.columns)
                flat = columns.reshape(*columns.shape[:3], -1)
                flat[0, :, column, place] = values[chains].T
                chunk.columns = jnp.asarray(columns)
                self._synchronise(chunk)

    def draws(self, target: str) -> np.ndarray:
        """Return the completed target, (R, m, K, B), on the sampler's scale."""
        index = self.problem.targets.index(target)
        if target in self._chunks[0].drawn:
            return self._gather([chunk.drawn[target] for chunk in self._chunks])
        if index not in self.problem.carried:
            observed = np.asarray(self.problem.data.observed[:, index])[:, None]
            return np.repeat(observed, len(self.chains), axis=1)
        # Not visited yet, or computed.
        column = self.problem.carried.index(index)
        return self._gather([chunk.columns[:, :, column] for chunk in self._chunks])

    def unfitted(self, step: Step) -> np.ndarray | None:
        """Return the clusters without a fit at the last visit, (R, m, J), or None."""
        name = self._name(step)
        if any(name not in chunk.states for chunk in self._chunks):
            return None
        told = [step.method.unfitted(chunk.states[name]) for chunk in self._chunks]
        return None if told[0] is None else self._gather(told)

    def _gather(self, parts: Sequence[Any]) -> np.ndarray:
        """Fetch something by chunk and join the chains that were asked for."""
        kept = zip(parts, self._chunks, strict=True)
        fetched = [np.asarray(part)[:, : chunk.keep] for part, chunk in kept]
        return fetched[0] if len(fetched) == 1 else np.concatenate(fetched, axis=1)

    def trace(self, target: str, name: str) -> np.ndarray:
        """Return a traced quantity, (R, iteration, m), on the sampler's scale."""
        shape = (self.problem.n_replications, 0, len(self.chains))
        if not self.traces:
            return np.zeros(shape)
        return np.stack([now[target][name] for now in self.traces], axis=1)

    def dump(self) -> dict[str, Any]:
        """Return everything that the future of the chains depends on, as arrays of numpy."""
        chunks = [
            {
                "chains": chunk.chains,
                "keep": chunk.keep,
                "columns": chunk.columns,
                "drawn": chunk.drawn,
                "states": {key: jax.tree.leaves(state) for key, state in chunk.states.items()},
            }
            for chunk in self._chunks
        ]
        traces = jax.tree.map(lambda *values: np.stack(values), *self.traces) if self.traces else {}
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "chains": self.chains,
            "chunks": jax.tree.map(np.asarray, chunks),
            "traces": traces,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up what `dump` returned, in a session of the same problem, seed and precision."""
        self.iteration, self.seconds = saved["iteration"], saved["seconds"]
        self.chains = saved["chains"]
        self.traces = [
            jax.tree.map(lambda values, t=t: values[t], saved["traces"])
            for t in range(self.iteration)
        ]
        with self._scope():
            self._chunks = [self._restored(part) for part in saved["chunks"]]

    def _restored(self, saved: dict[str, Any]) -> Chunk:
        chunk = Chunk(saved["chains"], int(saved["keep"]), drawn=saved["drawn"])
        if saved["columns"] is None:
            return chunk
        chunk.columns = jnp.asarray(saved["columns"])
        for key, leaves in saved["states"].items():
            step = next(s for s in self.problem.steps if self._name(s) == key)
            blank = self._blank_state(step, chunk)
            structure = jax.tree.structure(blank)
            chunk.states[key] = jax.tree.unflatten(structure, [jnp.asarray(x) for x in leaves])
        self._synchronise(chunk)
        return chunk

    def copy(self, events: EventLog) -> "Session":
        """Return a session that can be advanced without touching this one."""
        twin = object.__new__(Session)
        vars(twin).update(vars(self))
        twin.events = events
        twin.traces = list(self.traces)
        with self._scope():
            twin._chunks = [
                Chunk(
                    chunk.chains,
                    chunk.keep,
                    jax.tree.map(jnp.array, chunk.columns),
                    jax.tree.map(jnp.array, chunk.states),
                    dict(chunk.drawn),
                    chunk.computed,
                    dict(chunk.processed),
                )
                for chunk in self._chunks
            ]
        return twin

    def join(self, other: "Session") -> None:
        """Take over the chains of another session of the same run and length."""
        self.chains = np.concatenate([self.chains, other.chains])
        self.seconds += other.seconds
        self.traces = [
            {
                target: {
                    name: np.concatenate([mine[target][name], theirs[target][name]], axis=1)
                    for name in mine[target]
                }
                for target in mine
            }
            for mine, theirs in zip(self.traces, other.traces, strict=True)
        ]
        self._chunks = self._chunks + other._chunks


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first interrupt into a flag; the second one interrupts."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(before):
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)


def _to_numpy(tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, tree
    )


def _move(problem: Problem, move: Callable[[Any], Any]) -> Problem:
    """Move the arrays of a problem, to the device in the precision of the scope or from it."""
    # In one call: a call for each of some thirty small arrays costs milliseconds.
    between = problem.between
    data, specs, start, values, processors = move(
        (
            problem.data,
            [step.spec for step in problem.steps],
            problem.start,
            between and between.values,
            between and between.steps,
        )
    )
    steps = [replace(step, spec=spec) for step, spec in zip(problem.steps, specs, strict=True)]
    if between is not None:
        between = replace(between, values=values, steps=processors)
    return replace(problem, data=data, steps=steps, start=start, between=between)


def _split(problem: Problem, m: int, n_cores: int) -> int:
    """Return a number of chunks that gives the cores enough work each.

    The chunks are equal, so that none is filled up.
    """
    R, _, K, B = problem.data.observed.shape
    most = min(n_cores, m, R * m * K * B // WORTH_A_CORE)
    return max((n for n in range(2, most + 1) if m % n == 0), default=1)


_COMPILED: set[Any] = set()
"""Signatures of the visits that this process compiled."""


def _affordable(problem: Problem, m: int, precision: str, device: Any) -> int:
    """Return how many chains fit into three quarters of the free memory."""
    size = 8 if precision == "float64" else 4
    R, _, K, B = problem.data.observed.shape
    J = problem.data.layout.cluster_live.shape[-1]
    carried, targets = len(problem.carried), len(problem.targets)
    by_cluster = 0
    for step in problem.steps:
        q, f = step.spec.widths
        # Sums, their factors and what an inner step makes of them, all at once.
        by_cluster = max(by_cluster, J * (6 * q * (q + f + 1) + 2 * f * f))
    # Columns in and out, what was drawn, and the temporaries of one visit.
    per_chain = R * size * (K * B * (3 * carried + targets + 8) + by_cluster)
    return int(np.clip(0.75 * _free_memory(device) / max(per_chain, 1), 1, m))


def _free_memory(device: Any) -> float:
    stats = (device or jax.devices()[0]).memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        with open("/proc/meminfo") as lines:
            found = {line.split(":")[0]: line.split()[1] for line in lines}
        return 1024.0 * float(found["MemAvailable"])
    except (OSError, KeyError):
        return 4e9
