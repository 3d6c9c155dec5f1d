"""Two orders of magnitude: jaxmice beside R's mice and lme4, in one run on one machine.

    python -m benchmarks.first [--out benchmarks/results/first.md] [--repeat 5]

Claims, with equal inner iterations (100 for `2l.norm`, 500 for `2l.pan`) in float64, after
compilation: `2l.norm` at least 150 times faster than R on 1,000 clusters of 20 rows,
`2l.pan` at least 100 times on 100 clusters of 1,000 rows (3 predictors, all random, m = 5);
on popmis with m = 100 `2l.norm` at least 50 times, `2l.pan` at least 10 times and 50 times
with its default warm start; the mixed model on 20 imputations at least 50 times faster than
20 lme4 fits. Both programs get the same data, model, m and iterations; times are of the
whole call (`mice(...)`, `analyze(...)`), the best of some repeats for jaxmice and one call
for R. What is imputed is checked before it is timed. R with mice and lme4 must be on the
path.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.machine import made_by

FORMULA = "popular ~ sex * texp + (1 + sex | school)"

R_SCRIPT = r"""
suppressMessages({library(mice); library(lme4)})
args <- commandArgs(TRUE)
seconds <- function(expr) system.time(expr)[["elapsed"]]
run <- function(file, target, method, codes, m) {
  d <- read.csv(file)
  p <- make.predictorMatrix(d); p[,] <- 0; p[target, ] <- codes
  me <- rep("", ncol(d)); names(me) <- names(d); me[target] <- method
  seconds(imp <<- mice(d, m = m, maxit = 1, method = me, predictorMatrix = p, print = FALSE,
                       seed = 1))
}
cat("versions", paste0("R ", getRversion(), ", mice ", packageVersion("mice"), ", lme4 ",
    packageVersion("lme4")), sep = "\t"); cat("\n")
cat("norm_wide", run(args[1], "y", "2l.norm", c(-2, 2, 2, 2, 0), 5), sep = "\t"); cat("\n")
cat("pan_long", run(args[2], "y", "2l.pan", c(-2, 2, 2, 2, 0), 5), sep = "\t"); cat("\n")
cat("norm_popmis", run(args[3], "popular", "2l.norm", c(-2, 0, 2, 2), 100), sep = "\t"); cat("\n")
cat("pan_popmis", run(args[3], "popular", "2l.pan", c(-2, 0, 2, 1), 100), sep = "\t"); cat("\n")
sets <- lapply(1:20, function(i) complete(imp, i))
cat("lmer", seconds(for (s in sets) lmer(popular ~ sex * texp + (1 + sex | school), data = s)),
    sep = "\t"); cat("\n")
"""

COLD = """
import time, resource, sys
began = time.perf_counter()
import jax, pandas
imported = time.perf_counter()
import jaxmice as jm
ready = time.perf_counter()
d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
jm.mice(d, m=5, method={"popular": sys.argv[1]}, cluster="school", seed=1,
        roles={"popular": {"sex": "random", "texp": "fixed"}})
done = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(imported - began, ready - imported, done - began, peak)
"""


@dataclass
class Row:
    """One comparison."""

    what: str
    ours: float
    peer: float
    bar: float

    @property
    def ratio(self) -> float:
        """How many times faster jaxmice is."""
        return self.peer / self.ours


def make_data(J: int, n: int, seed: int) -> pd.DataFrame:
    """Draw clusters with three random slopes; 30 % of y missing at random places."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(1, J + 1), n)
    X = rng.normal(size=(J * n, 3))
    b = 0.5 * rng.normal(size=(J + 1, 4))
    y = 1 + 0.5 * X.sum(1) + b[g, 0] + (X * b[g, 1:]).sum(1) + rng.normal(size=J * n)
    data = pd.DataFrame({"g": g, "x1": X[:, 0], "x2": X[:, 1], "x3": X[:, 2], "y": y})
    data.loc[rng.random(J * n) < 0.3, "y"] = np.nan
    return data


def best(call: Callable[[], object], repeat: int) -> float:
    """Return the shortest of some times, compilation not among them."""
    call()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def measure_r(files: list[Path]) -> tuple[str, dict[str, float]]:
    """Run R once on the same files; return its versions and seconds by name."""
    with tempfile.NamedTemporaryFile("w", suffix=".R") as script:
        script.write(R_SCRIPT)
        script.flush()
        command = ["Rscript", script.name, *map(str, files)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = dict(line.split("\t") for line in out.strip().splitlines())
    return lines.pop("versions"), {name: float(value) for name, value in lines.items()}


def measure(repeat: int) -> tuple[list[Row], str]:
    """Time everything; return the comparisons and the versions of R."""
    import jaxmice as jm

    wide, long = make_data(1_000, 20, 1), make_data(100, 1_000, 2)
    popmis = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    slopes = {"y": {"x1": "random", "x2": "random", "x3": "random"}}
    both = {"popular": {"sex": "random", "texp": "random"}}
    one = {"popular": {"sex": "random", "texp": "fixed"}}
    cold = {"restart": True}

    def ours(data: pd.DataFrame, method: str, roles: dict, m: int, **options: object) -> float:
        target = next(iter(roles))
        cluster = data.columns[0]

        def call() -> jm.ImputedData:
            return jm.mice(
                data,
                m,
                {target: method},
                cluster=cluster,
                roles=roles,
                options={target: options},
                precision="float64",
                seed=1,
            )

        imp = call()
        assert not imp.complete("stacked").isna().any().any()
        spread = imp.chain_var.mean() / data[target].var()
        assert 0.5 < spread < 2, f"imputations have {spread:.2f} times the variance of the data"
        return best(call, repeat)

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("wide.csv", "long.csv", "popmis.csv")]
        for data, file in zip((wide, long, popmis), files, strict=True):
            data.to_csv(file, index=False)
        versions, peer = measure_r(files)
    imp = jm.mice(popmis, 20, {"popular": "2l.pan"}, cluster="school", roles=one, seed=1)
    rows = [
        Row(
            "`2l.norm`, 1,000 clusters x 20 rows, m = 5",
            ours(wide, "2l.norm", slopes, 5, prior="kr", **cold),
            peer["norm_wide"],
            150,
        ),
        Row(
            "`2l.pan`, 100 clusters x 1,000 rows, m = 5",
            ours(long, "2l.pan", slopes, 5, prior="pan", **cold),
            peer["pan_long"],
            100,
        ),
        Row(
            "`2l.norm`, popmis, m = 100",
            ours(popmis, "2l.norm", both, 100, prior="kr", **cold),
            peer["norm_popmis"],
            50,
        ),
        Row(
            "`2l.pan`, popmis, m = 100",
            ours(popmis, "2l.pan", one, 100, prior="pan", **cold),
            peer["pan_popmis"],
            10,
        ),
        Row(
            "`2l.pan`, popmis, m = 100, default warm start",
            ours(popmis, "2l.pan", one, 100),
            peer["pan_popmis"],
            50,
        ),
        Row(
            "mixed model (REML), 20 imputations of popmis",
            best(lambda: imp.analyze(FORMULA), repeat),
            peer["lmer"],
            50,
        ),
    ]
    return rows, versions


def measure_cold(method: str, repeat: int) -> list[float]:
    """Return medians over new processes: imports, jaxmice, first imputation, memory."""
    runs = []
    for _ in range(repeat):
        out = subprocess.run(
            [sys.executable, "-c", COLD, method], check=True, capture_output=True, text=True
        )
        runs.append([float(value) for value in out.stdout.split()])
    return list(np.median(np.array(runs), axis=0))


def report(rows: list[Row], cold: dict[str, list[float]], r_versions: str) -> str:
    """Return the results as a page."""
    lines = [
        "# jaxmice beside R",
        "",
        f"{made_by('python -m benchmarks.first')}, float64; {r_versions}, one core. Seconds of "
        "the whole call after compilation, equal inner iterations unless said otherwise.",
        "",
        "| | jaxmice | R | times faster | bar | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = "reached" if row.ratio >= row.bar else "**missed**"
        lines.append(
            f"| {row.what} | {row.ours:.3f} | {row.peer:.2f} | {row.ratio:.0f} "
            f"| {row.bar:.0f} | {verdict} |"
        )
    lines += [
        "",
        "In a new process (medians): first imputation of popmis, m = 5, imports and "
        "compilation included.",
        "",
        "| | import jax, pandas | import jaxmice on top | all, to the first result | memory, MB |",
        "|---|---|---|---|---|",
    ]
    for method, (imported, ours, done, peak) in cold.items():
        lines.append(f"| `{method}` | {imported:.2f} | {ours:.2f} | {done:.2f} | {peak:.0f} |")
    lines.append("| bar | | 0.5 | 6 | 1000 |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/first.md"))
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cold = {method: measure_cold(method, 3) for method in ("2l.pan", "2l.norm")}
    rows, versions = measure(options.repeat)
    page = report(rows, cold, versions)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
