"""Check all samplers, print the table and write it."""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.calibration.case import Case
from benchmarks.calibration.cases import find_cases
from benchmarks.calibration.checks import (
    LEVEL,
    PER_SIMULATION,
    Found,
    Program,
    Result,
    Twin,
    check,
    check_twin,
)
from benchmarks.machine import made_by
from jaxmice.engine import precision_scope

PAGE = Path("benchmarks/results/calibration.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a sampler fails or a twin passes, as an exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration")
    parser.add_argument("--only", nargs="+", default=["*"], help="names of cases, or patterns")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=["float64", "float32"], default="float64")
    parser.add_argument("--together", type=int, default=2, help="cases checked at a time")
    parser.add_argument("--twins", action="store_true", help="make the mistakes as well")
    parser.add_argument(
        "--out", type=Path, help=f"page to write; {PAGE} if all are checked in float64"
    )
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    cases = [
        case
        for name, case in find_cases(double=options.precision == "float64").items()
        if any(fnmatch(name, pattern) for pattern in options.only)
    ]

    def one(case: Case) -> tuple[Result, list[Twin]]:
        with precision_scope(options.precision):
            return check_case(case, options.simulations, options.seed, twins=options.twins)

    # Compilation and the smaller programs keep one core busy each. The slowest are not to run
    # alone at the end.
    cases.sort(key=lambda case: -case.thin)
    with ThreadPoolExecutor(options.together) as pool:
        found = list(pool.map(one, cases))
    found.sort(key=lambda pair: pair[0].case.name)
    results = [result for result, _ in found]
    twins = [twin for _, of_case in found for twin in of_case]
    command = f"python -m benchmarks.calibration --seed {options.seed}"
    if options.precision != "float64":
        command += f" --precision {options.precision}"
    made = f"{made_by(command)}, {options.precision}; {time.perf_counter() - began:.0f} s in all"
    page = report(results, twins, options.simulations, made, options.together)
    print("\n" + page)
    everything = options.only == ["*"] and options.precision == "float64"
    out = options.out or (PAGE if everything else None)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page)
    return 0 if all(r.passed for r in results) and all(t.found.red for t in twins) else 1


def check_case(case: Case, n: int, seed: int, *, twins: bool) -> tuple[Result, list[Twin]]:
    """Put one case to its tests, print its rows and return them."""
    program = Program(case, n)
    result = check(program, n, seed)
    print(result_row(result), flush=True)
    made = []
    for mistake in case.twins if twins else ():
        made.append(check_twin(program, n, seed, mistake))
        print(twin_row(made[-1]), flush=True)
    return result, made


def report(
    results: Sequence[Result], twins: Sequence[Twin], n: int, made: str, together: int
) -> str:
    """Return the results as a page."""
    tests = sum(r.ranks.n_quantities + (r.start.n_quantities if r.start else 0) for r in results)
    lines = [
        "# Calibration of the samplers",
        "",
        f"{made}, compilation included.",
        "",
        f"Ranks of the truth among {Case.n_draws} draws in {n:,} simulations; "
        f"{PER_SIMULATION * n:,} "
        "exact starts. The smallest p-value of each test over its quantities, not adjusted; red "
        f"below {LEVEL:g}. If all samplers are right, one of the {tests} tests is red with "
        f"probability at most {tests * LEVEL:.1%}. Effective: what a ranked draw is worth in "
        f"independent ones, for the slowest quantity. Seconds: {together} samplers share the "
        "machine. In float32 at most one start in 10,000 is left out for numbers outside of its "
        "range.",
        "",
        "| sampler | methods | quantities | ranks: p | exact start: p | effective | seconds | |",
        "|---|---|---|---|---|---|---|---|",
        *map(result_row, results),
    ]
    if twins:
        lines += [
            "",
            "Mistakes made on purpose; each must be seen.",
            "",
            "| sampler | mistake | test | p | |",
            "|---|---|---|---|---|",
            *map(twin_row, twins),
        ]
    return "\n".join(lines) + "\n"


def result_row(result: Result) -> str:
    """Return a row of the table of samplers."""
    case = result.case
    start = shown(result.start) if result.start else "independent draws"
    verdict = "calibrated" if result.passed else "**red**"
    return (
        f"| {case.name} | {case.methods} | {result.ranks.n_quantities} | {shown(result.ranks)} "
        f"| {start} | {result.effective:.2f} | {result.seconds:.0f} | {verdict} |"
    )


def twin_row(twin: Twin) -> str:
    """Return a row of the table of mistakes."""
    verdict = "seen" if twin.found.red else "**not seen**"
    return f"| {twin.case.name} | {twin.mistake} | {twin.test} | {shown(twin.found)} | {verdict} |"


def shown(found: Found) -> str:
    """Return a p-value and the quantity it belongs to."""
    value = f"{found.pvalue:.2g}" if found.pvalue > 1e-12 else "< 1e-12"
    return f"{value} ({found.quantity})"


if __name__ == "__main__":
    sys.exit(main())
