"""The processor and a GPU side by side: which sizes are worth a GPU.

``python -m benchmarks.devices [--only TEXT ...] [--repeat N] [--write]`` times one iteration
of some methods on both, in float64, and on the GPU in float32 too, its default. Seconds of the
whole call, what comes before the sampler and after it included; compilation by itself. Without a
GPU it times the processor alone. ``--write`` writes ``benchmarks/results/devices.md``.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.first import make_data
from benchmarks.heckman import data as make_selected
from benchmarks.machine import made_by

RESULT = Path(__file__).parent / "results" / "devices.md"

ON = (("cpu", "float64"), ("gpu", "float64"), ("gpu", "float32"))


@dataclass(frozen=True)
class Case:
    """What is imputed."""

    method: str
    clusters: int
    rows: int
    m: int
    data_sets: int = 1

    def __str__(self) -> str:
        many = f"{self.data_sets} data sets, " if self.data_sets > 1 else ""
        return f"`{self.method}`, {many}{self.clusters:,} x {self.rows:,}, m = {self.m}"


CASES = (
    Case("2l.pan", 100, 20, 5),
    Case("2l.pan", 100, 1000, 10),
    Case("2l.pan", 1000, 1000, 10),
    Case("2l.bin", 100, 1000, 10),
    Case("2l.bin", 1000, 1000, 10),
    Case("2l.heckman", 100, 1000, 10),
    Case("2l.norm", 50, 20, 5, 500),
)
"""Sizes of a teaching data set, of a meta-analysis, of a register, and a simulation study."""


def prepare(case: Case) -> Callable[..., Any]:
    """Draw the data; return a run of one iteration, given a device and a precision."""
    import jaxmice as jm

    random = {"y": dict.fromkeys(("x1", "x2", "x3"), "random")}
    options: dict[str, Any] = {"method": {"y": case.method}, "cluster": "g", "roles": random}
    if case.method == "2l.heckman":
        frames = [make_selected(case.clusters, case.rows, binary=False)]
        options |= {
            "cluster": "cluster",
            "roles": {"y": {"x1": "random", "x2": "random", "x3": "selection"}},
            "screen": "off",
        }
    else:
        frames = [make_data(case.clusters, case.rows, 1 + s) for s in range(case.data_sets)]
    if case.method == "2l.bin":
        frames = [d.assign(y=np.where(d["y"].isna(), np.nan, 1.0 * (d["y"] > 1))) for d in frames]
    shared: dict[str, Any] = {"m": case.m, "maxit": 1, "seed": 1}
    if case.data_sets > 1:
        return lambda **where: jm.replicate(frames, **shared, **options, **where)
    return lambda **where: [jm.mice(frames[0], **shared, **options, **where)]


def measure(case: Case, repeat: int) -> list[str]:
    """Return the cells of a row: seconds on every device, and how far the draws agree."""
    run, cells, means = prepare(case), [], []
    platforms = {"cpu", jax.default_backend()}
    for platform, precision in ON:
        if platform not in platforms:
            cells += ["", ""]
            continue
        taken = []
        for _ in range(repeat + 1):
            began = time.perf_counter()
            done = run(device=platform, precision=precision)
            taken.append(time.perf_counter() - began)
        assert not any(imp.complete(1).isna().any().any() for imp in done)
        means.append(np.array([imp.chain_mean for imp in done]))
        best = min(taken[1:])
        cells += [f"{best:.3f}", f"{max(taken[0] - best, 0):.0f}"]
        jax.clear_caches()
    distances = [f"{np.nanmax(np.abs(mean - means[0])):.0e}" for mean in means[1:]]
    return cells + distances + [""] * (len(ON) - 1 - len(distances))


def main() -> None:
    """Time every case, and print or write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", help="parts of the names of cases")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    arguments = parser.parse_args()
    # Nothing that an earlier process compiled.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    warnings.simplefilter("ignore")
    print(head := table_head(arguments.repeat), flush=True)
    rows = []
    for case in CASES:
        if arguments.only and not any(text in str(case) for text in arguments.only):
            continue
        rows.append("| " + " | ".join([str(case), *measure(case, arguments.repeat)]) + " |")
        print(rows[-1], flush=True)
    if arguments.write:
        RESULT.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def table_head(repeat: int) -> str:
    """Return what stands above the rows."""
    return "\n".join(
        [
            "# Processor and GPU",
            "",
            made_by("python -m benchmarks.devices") + ".",
            "",
            f"Seconds of a whole call of one iteration, best of {repeat} after the first; compile: "
            "what the first took longer. Three random slopes (`2l.heckman`: two), 30 % of y "
            "missing. Distance: the largest, over chains, between means of imputations on the GPU "
            "and on the processor with the same seed.",
            "",
            "| | processor, float64, s | compile, s | GPU, float64, s | compile, s "
            "| GPU, float32, s | compile, s | distance, float64 | float32 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
    )


if __name__ == "__main__":
    main()
