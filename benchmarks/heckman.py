"""Time of the two-level selection model on data of the published size.

``python -m benchmarks.heckman`` imputes numbers as in A6 and two categories as in A7, m = 10, by
`2l.heckman`, once in a process that finds nothing compiled and ``--times`` more, and prints wall
and processor seconds of the best. ``--write`` writes ``benchmarks/results/heckman.md``.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.acceptance.selection import Setting, simulate
from benchmarks.machine import made_by
from jaxmice.errors import JaxMiceWarning

RESULT = Path(__file__).parent / "results" / "heckman.md"
M, RHO = 10, 0.6
SIZES = {(100, 1000): (3.0, 152.6), (10, 1000): (0.5, 16.7)}
"""Bar of the wall seconds after compilation on two cores, and the published seconds."""


def data(clusters: int, rows: int, *, binary: bool) -> pd.DataFrame:
    """Return one data set as in A6, or as in A7."""
    made = simulate(Setting(clusters, rows, RHO), 1, np.random.default_rng(1))
    frame = pd.DataFrame(made.x[0], columns=["x1", "x2", "x3"])
    y = (made.y[0] > 0).astype(float) if binary else made.y[0]
    return frame.assign(cluster=made.cluster, y=np.where(made.seen[0], y, np.nan))


def measure(frame: pd.DataFrame, method: str, times: int) -> tuple[float, float, float]:
    """Return the best wall and processor seconds, and the processor seconds of compilation."""
    import jaxmice as jm

    # Ten imputations are what was timed, few or not.
    warnings.filterwarnings("ignore", "W33", JaxMiceWarning)
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter(), time.process_time()
        jm.mice(
            frame,
            M,
            {"y": method},
            cluster="cluster",
            roles={"y": {"x1": "random", "x2": "random", "x3": "selection"}},
            screen="off",
            maxit=1,
            seed=1,
        )
        taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, cpu = (min(column) for column in zip(*taken[1:], strict=True))
    return wall, cpu, taken[0][1] - cpu


def main() -> None:
    """Time every size, and print or write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=5, help="runs after the first")
    parser.add_argument("--method", default="2l.heckman")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    arguments = parser.parse_args()
    # Nothing that an earlier process compiled.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    load = os.getloadavg()[0]
    lines = [
        "# Time of the two-level selection model",
        "",
        made_by("python -m benchmarks.heckman") + ".",
        "",
        f"`{arguments.method}`, numbers as in A6 and two categories as in A7, correlation {RHO}, "
        f"m = {M}, one iteration; best of {arguments.times} runs after the first. Load of the "
        f"machine before (processes that run or wait): {load:.1f}. Published: "
        "`2l.2stage.heckman` of R's micemd for numbers, Munoz et al. (2023).",
        "",
        "| y | clusters x rows | wall, s | bar | processor, s | compiling, cpu s | published, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in ("numbers", "two categories"):
        for (clusters, rows), (bar, published) in SIZES.items():
            frame = data(clusters, rows, binary=kind != "numbers")
            wall, cpu, compilation = measure(frame, arguments.method, arguments.times)
            lines.append(
                f"| {kind} | {clusters} x {rows:,} | {wall:.2f} | {bar:g} | {cpu:.2f} "
                f"| {compilation:.1f} | {published if kind == 'numbers' else ''} |"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
