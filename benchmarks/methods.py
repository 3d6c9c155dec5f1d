"""The slow methods of R beside jaxmice's in one run, and how long whole models compile.

    python -m benchmarks.methods [--out benchmarks/results/methods.md] [--repeat 3]
        [--only NAME ...] [--without-r] [--r-run FILE]

Claims, float64, after compilation: one iteration with m = 5 of `2l.lmer` on 100 clusters of
1,000 rows with 3 random slopes at least 2,000 times faster than mice, of `2l.bin` at least 100
times; the joint model `jomo` with equal iterations at least 20 times faster than R's jomo;
IPDNa (11,685 rows, 28 centres, 7 incomplete columns, the methods micemd would choose) with
m = 5 and 10 iterations in at most 20 s after at most 40 s of compilation; 24 incomplete
columns of four kinds compile in at most 25 s and one more of them adds less than 0.3 s.

Times are of whole calls by the clock, the best of some repeats for jaxmice on 2 cores and one call
for R on one. Processor time stands beside them: threads that wait for work count in it. The machine
should be idle; its load is on the page. R with mice, lme4 and jomo must be on the path, and
IPDNa.csv in the folder that JAXMICE_DATA names; what is lacking is left out and said. A page is
written only when everything was measured; `--only` and `--without-r` print. With `--r-run` the
figures of R are kept in a file, and a later page that takes them from there says so.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.first import make_data
from benchmarks.machine import made_by

R_SCRIPT = r"""
suppressMessages({library(mice); library(lme4); library(jomo)})
args <- commandArgs(TRUE); part <- args[1]; file <- args[2]; steps <- as.integer(args[3])
d <- read.csv(file, stringsAsFactors = TRUE)
failed <- 0
once <- function(method, code, seed) {
  p <- make.predictorMatrix(d); p[, ] <- 0; p["y", ] <- c(-2, code, code, code, 0)
  me <- rep("", ncol(d)); names(me) <- names(d); me["y"] <- method
  done <- try(mice(d, m = 1, maxit = 1, method = me, predictorMatrix = p, print = FALSE,
                   seed = seed), silent = TRUE)
  if (inherits(done, "try-error")) failed <<- failed + 1
}
five <- function(method, code) for (seed in 1:5) once(method, code, seed)
joint <- function() {
  set.seed(1)
  invisible(capture.output(jomo(d[, c("y1", "y2", "b", "k")], X = data.frame(1, d$x),
    clus = d$g, nburn = steps, nbetween = steps, nimp = 5, meth = "common", output = 0)))
}
spent <- system.time(switch(part, lmer = five("2l.lmer", 2), bin = five("2l.bin", 2),
                            bin_intercept = five("2l.bin", 1), jomo = joint()))
cat("\nresult", spent[["elapsed"]], spent[["user.self"]] + spent[["sys.self"]], failed,
    paste0("R ", getRversion(), ", mice ", packageVersion("mice"), ", lme4 ",
           packageVersion("lme4"), ", jomo ", packageVersion("jomo")), sep = "\t")
"""

STEPS = 500
"""Steps of the joint model before every imputation, in both programs."""

KINDS = {"continuous": "2l.pan", "binary": "2l.bin", "ordinal": "2l.ordinal"} | {
    "nominal": "2l.nominal"
}

Spent = tuple[float, float]
"""Seconds by the clock and of the processor."""


def spend(call: Callable[[], object]) -> Spent:
    """Time one call."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - used


def best(call: Callable[[], object], repeat: int) -> Spent:
    """Return the least of some times, compilation not among them."""
    call()
    times = [spend(call) for _ in range(repeat)]
    return min(wall for wall, _ in times), min(used for _, used in times)


def make_binary() -> pd.DataFrame:
    """Draw 100 clusters of 50 rows with a binary outcome and three random slopes."""
    data = make_data(100, 50, 3)
    data["y"] = (data["y"] > 1).astype(float).where(data["y"].notna())
    return data


def make_joint() -> pd.DataFrame:
    """Draw 50 clusters of 20 rows: two numbers, two and three categories, 30 % missing."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(1, 51), 20)
    x = rng.normal(size=len(g))
    latent = 0.5 * x[:, None] + 0.5 * rng.normal(size=(51, 5))[g]
    latent += rng.normal(size=latent.shape) + 0.5 * rng.normal(size=(len(g), 1))
    level = np.argmax(np.c_[latent[:, 3:], np.zeros(len(g))], axis=1)
    data = pd.DataFrame({"g": g, "x": x, "y1": latent[:, 0], "y2": latent[:, 1]})
    data["b"] = np.array(["no", "yes"])[(latent[:, 2] > 0).astype(int)]
    data["k"] = np.array(["a", "b", "c"])[level]
    return data.mask(rng.random(data.shape) < [0, 0, 0.3, 0.3, 0.3, 0.3])


def make_kinds(n_columns: int) -> pd.DataFrame:
    """Draw 50 clusters of 40 rows with incomplete columns of the four kinds in turn."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(50), 40)
    common = rng.normal(size=len(g)) + rng.normal(size=50)[g]
    data: dict[str, Any] = {"g": g, "x": rng.normal(size=len(g))}
    for i in range(n_columns):
        value = 0.5 * common + rng.normal(size=len(g)) + 0.5 * rng.normal(size=50)[g]
        kind = list(KINDS)[i % 4]
        cuts = {"continuous": None, "binary": [0.0]}.get(kind, [-0.7, 0.7])
        hidden = rng.random(len(g)) < 0.2
        column = pd.Series(value if cuts is None else np.digitize(value, cuts).astype(float))
        column = column.mask(hidden)
        if cuts is not None:
            names = ["a", "b", "c"][: len(cuts) + 1]
            codes = column.fillna(-1).astype(int)
            column = pd.Series(pd.Categorical.from_codes(codes, names, ordered=kind == "ordinal"))
        data[f"{kind}{i // 4}"] = column
    return pd.DataFrame(data)


def univariate(data: pd.DataFrame, method: str, role: str) -> Callable[[], Any]:
    """Return a run of one visit of y, m = 5."""
    import jaxmice as jm

    roles = {"y": dict.fromkeys(("x1", "x2", "x3"), role)}
    return lambda: jm.mice(
        data, 5, {"y": method}, cluster="g", roles=roles, maxit=1, precision="float64", seed=1
    )


def joint(data: pd.DataFrame) -> Callable[[], Any]:
    """Return a run of the joint model, m = 5 chains of `STEPS` steps."""
    import jaxmice as jm

    return lambda: jm.mice(
        data,
        5,
        {"all": "jomo"},
        blocks={"all": ["y1", "y2", "b", "k"]},
        cluster="g",
        options={"all": {"restart": True, "inner_iter": STEPS}},
        maxit=1,
        precision="float64",
        seed=1,
    )


def ipd(folder: str) -> Callable[[], Any]:
    """Return a run of IPDNa by the methods that micemd would choose, every slope random."""
    import jaxmice as jm

    data = pd.read_csv(Path(folder) / "IPDNa.csv")
    chosen = jm.find_default_method(data, cluster="centre", family="micemd")
    methods = {name: method for name, method in chosen.items() if method}
    others = [name for name in data.columns if name != "centre"]
    roles = {y: {x: "random" for x in others if x != y} for y in methods}
    return lambda: jm.mice(
        data, 5, methods, cluster="centre", roles=roles, maxit=10, precision="float64", seed=1
    )


def kinds(n_columns: int) -> Callable[[], Any]:
    """Return a run of the four kinds by their default methods."""
    import jaxmice as jm

    data = make_kinds(n_columns)
    return lambda: jm.mice(data, 5, cluster="g", maxit=1, precision="float64", seed=1)


FURTHER = 8
"""Columns that are added to find out what one costs: a single one would not show in the noise."""

PEERS: dict[str, tuple[str, float, Callable[[], pd.DataFrame], Callable[..., Any]]] = {
    "lmer": (
        "`2l.lmer`, 100 clusters x 1,000 rows, 3 random slopes",
        2000,
        lambda: make_data(100, 1_000, 2),
        lambda data: univariate(data, "2l.lmer", "random"),
    ),
    "bin": (
        "`2l.bin`, 100 clusters x 50 rows, 3 random slopes",
        100,
        make_binary,
        lambda data: univariate(data, "2l.bin", "random"),
    ),
    "bin_intercept": (
        "`2l.bin`, the same rows, random intercept only",
        0,
        make_binary,
        lambda data: univariate(data, "2l.bin", "fixed"),
    ),
    "jomo": (
        f"`jomo`, 50 clusters x 20 rows, 2 numbers, 2 and 3 categories, {STEPS} steps a chain",
        20,
        make_joint,
        joint,
    ),
}
"""By name: what it is, times faster than R it must be, the data, and the run."""


def measure_ours(name: str, repeat: int) -> Spent:
    """Time a method after looking at what it imputes."""
    data, make = PEERS[name][2:]
    call = make(data())
    assert not call().complete("stacked").isna().any().any(), f"{name}: values stayed missing"
    return best(call, repeat)


def measure_r(name: str) -> dict[str, Any]:
    """Run R once on the same data."""
    with tempfile.TemporaryDirectory() as folder:
        script, file = Path(folder) / "run.R", Path(folder) / "data.csv"
        script.write_text(R_SCRIPT)
        PEERS[name][2]().to_csv(file, index=False)
        command = ["Rscript", str(script), name, str(file), str(STEPS)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, used, failed, versions = out.split("\nresult\t")[1].split("\t")
    return {
        "spent": (float(wall), float(used)),
        "failed": int(failed),
        "versions": versions,
        "date": str(date.today()),
    }


def cold(what: str) -> dict[str, Any]:
    """Compile and run a whole model in a new process."""
    code = f"from benchmarks.methods import compile_and_run as f; f({what!r})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def compile_and_run(what: str) -> None:
    """Print the seconds of the first and of a later call, and the number of programs."""
    import jax

    programs = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **about: (
            programs.append(about.get("fun_name")) if "backend_compile_duration" in event else None
        )
    )
    call = ipd(os.environ["JAXMICE_DATA"]) if what == "ipd" else kinds(int(what))
    first = spend(call)
    visits = sum("visit" in str(name) for name in programs)
    later = min(spend(call) for _ in range(2))
    compiling = tuple(a - b for a, b in zip(first, later, strict=True))
    print(json.dumps({"compiling": compiling, "later": later, "visits": visits}))


def keep_r(name: str, stored: dict[str, Any], file: Path | None) -> Any:
    """Return the figures of R, measured if they are not stored, and kept at once."""
    if name not in stored:
        stored[name] = measure_r(name)
        if file is not None:
            file.write_text(json.dumps(stored))
    return stored[name]


def compare(
    names: list[str], repeat: int, stored: dict[str, Any] | None, file: Path | None
) -> list[str]:
    """Return a table of jaxmice beside R, which computes on one core."""
    lines = [
        "| m = 5, one iteration | jaxmice | processor | R | processor | times faster | bar | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        what, bar = PEERS[name][:2]
        # One after the other: what else the machine does slows both.
        peer = None if stored is None else keep_r(name, stored, file)
        wall, used = measure_ours(name, repeat)
        line = f"| {what} | {wall:.3f} | {used:.3f} "
        if peer is None:
            lines.append(f"{line}| | | | {bar or ''} | not compared |")
            continue
        ratio = peer["spent"][0] / wall
        verdict = "" if not bar else "reached" if ratio >= bar else "**missed**"
        if peer["failed"]:
            verdict += f"; R failed in {peer['failed']} of 5, whose time until then counts"
        line += f"| {peer['spent'][0]:.2f} | {peer['spent'][1]:.2f} | {ratio:.0f} "
        lines.append(f"{line}| {bar or ''} | {verdict} |")
    return lines


def compilation(names: list[str], repeat: int) -> list[str]:
    """Return a table of whole models in new processes, the best of some."""
    lines = [
        "| In a new process | seconds | processor | bar | |",
        "|---|---|---|---|---|",
    ]

    def add(what: str, spent: Spent, bar: float, note: str = "") -> None:
        verdict = "reached" if spent[0] <= bar else "**missed**"
        if spent[0] < 0:
            verdict = "not told from zero on so busy a machine"
        lines.append(f"| {what} | {spent[0]:.2f} | {spent[1]:.2f} | {bar:g} | {verdict}{note} |")

    def least(runs: list[dict[str, Any]], part: str) -> Spent:
        wall, used = zip(*(run[part] for run in runs), strict=True)
        return min(wall), min(used)

    if "ipd" in names and "JAXMICE_DATA" in os.environ:
        runs = [cold("ipd") for _ in range(repeat)]
        peer = "; micemd, m = 1, one iteration: about 12 s, as quoted"
        add("IPDNa, m = 5, 10 iterations, after compilation", least(runs, "later"), 20, peer)
        programs = f"; {runs[0]['visits']} programs for 7 columns"
        add("IPDNa, compilation", least(runs, "compiling"), 40, programs)
    elif "ipd" in names:
        lines.append("| IPDNa | | | | not measured: JAXMICE_DATA names no folder |")
    if "kinds" in names:
        pairs = [(cold("24"), cold(str(24 + FURTHER))) for _ in range(repeat)]
        before, after = (list(runs) for runs in zip(*pairs, strict=True))
        first, second = least(before, "compiling"), least(after, "compiling")
        note = f"; {before[0]['visits']} programs"
        add("24 incomplete columns of four kinds, compilation", first, 25, note)
        note = f"; {after[0]['visits']} programs"
        each = (second[0] - first[0]) / FURTHER, (second[1] - first[1]) / FURTHER
        add(f"one more column, of {FURTHER} more", each, 0.3, note)
    return lines


def main() -> None:
    """Measure, print and, if everything was measured, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/methods.md"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*PEERS, "ipd", "kinds"])
    parser.add_argument("--without-r", action="store_true")
    parser.add_argument("--r-run", type=Path, help="file that keeps the figures of R")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    began = os.getloadavg()[0]
    names = options.only or [*PEERS, "ipd", "kinds"]
    peers = [name for name in names if name in PEERS]
    kept = options.r_run is not None and options.r_run.exists()
    stored: dict[str, Any] | None = json.loads(options.r_run.read_text()) if kept else {}
    origin = "in the same run"
    if stored:
        origin = (
            f"in the same run, **of {', '.join(stored)} in a stored one of "
            f"{next(iter(stored.values()))['date']}**"
        )
    if options.without_r:
        stored = None
    tables = compare(peers, options.repeat, stored, options.r_run)
    versions = next(iter(stored.values()))["versions"] if stored else "without R"
    compiled = compilation(names, options.repeat)
    page = [
        "# Slow methods of R, and time to compile",
        "",
        f"{made_by('python -m benchmarks.methods')}, float64; {versions}, one core, measured "
        f"{origin}. Seconds of whole calls after compilation by the clock, which decide, and of "
        "the processor, all cores together. Load of the machine before and after: "
        f"{began:.1f} and {os.getloadavg()[0]:.1f}; above two, one a core, both sides are slowed.",
        "",
        *tables,
        "",
        *compiled,
    ]
    text = "\n".join(page) + "\n"
    if not options.only and not options.without_r and "JAXMICE_DATA" in os.environ:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
