"""All incomplete columns of a meta-analysis of 11,022 patients: time, kinds, and variance.

``python -m benchmarks.impact`` imputes the data of `jaxmice.datasets.make_impact` (six columns,
systematic and sporadic holes) as the analysis suggests, m = 20, maxit = 20, in a new process
that finds nothing compiled, and says where the time went. ``--sets N`` does so for N more
simulated data sets, with ``--m`` and ``--maxit``, and compares the pooled variance between
studies with that of the complete data; finished sets are kept in ``--record`` and not run
again. Both write ``benchmarks/results/impact.md``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.machine import made_by
from jaxmice.datasets import make_impact
from jaxmice.errors import JaxMiceWarning
from jaxmice.tutorials.impact import FORMULA, VARIANCE

RESULT = Path(__file__).parent / "results" / "impact.md"
BAR_SECONDS, BAR_VARIANCE = 60, 0.10


def time_imputation(m: int, maxit: int) -> dict[str, object]:
    """Impute once; run in a process of its own."""
    import jaxmice as jm

    made = make_impact(seed=3)
    ready = time.perf_counter()
    model = jm.suggest(made.incomplete, "name", FORMULA).model
    marks = [time.perf_counter()]
    imp = jm.mice(
        model=model,
        m=m,
        maxit=maxit,
        seed=1,
        progress=lambda iteration, block: marks.append(time.perf_counter()),
    )
    done = time.perf_counter()
    kept = [
        str(name)
        for name in made.complete
        if all(
            _same_kind(made.complete[name], frame[name]) for frame in imp.complete("all").values()
        )
    ]
    targets = [name for name, method in model.method.items() if method]
    first = marks[len(targets)] if len(marks) > len(targets) else done
    return {
        "first": first - ready,
        "rest": done - first,
        "cpu": time.process_time(),
        "methods": {name: model.method[name] for name in targets},
        "kept": kept,
        "columns": len(made.complete.columns),
    }


def _same_kind(before: pd.Series, after: pd.Series) -> bool:
    """Whether the values after are of the dtype and categories before holes were made."""
    if isinstance(before.dtype, pd.CategoricalDtype):
        return bool(before.dtype == after.dtype) and bool(after.notna().all())
    # A hole turns whole numbers to floating point; the values stay the same.
    return bool(after.isin(before.unique()).all())


def compare_variance(seed: int, m: int, maxit: int) -> dict[str, float]:
    """Return the variance between studies before holes were made and after imputation."""
    import jaxmice as jm

    made = make_impact(seed=seed)
    engine = "glmm:binomial"
    with warnings.catch_warnings():
        # Degrees of freedom are not looked at.
        warnings.filterwarnings("ignore", "W28", JaxMiceWarning)
        complete = jm.complete_case(made.complete, FORMULA, engine=engine)
        model = jm.suggest(made.incomplete, "name", FORMULA).model
        imp = jm.mice(model=model, m=m, maxit=maxit, seed=seed)
        pooled = imp.analyze(FORMULA, engine=engine).pool()
    own, theirs = (p.extra.set_index("term")["estimate"][VARIANCE] for p in (pooled, complete))
    return {"seed": seed, "m": m, "maxit": maxit, "imputed": float(own), "complete": float(theirs)}


def write(timing: dict, sets: list[dict[str, float]], m: int, maxit: int) -> None:
    """Write the page of results."""
    lines = ["# Meta-analysis of brain injury, all columns", ""]
    lines += [made_by("python -m benchmarks.impact " + " ".join(sys.argv[1:])) + ".", ""]
    methods = ", ".join(f"`{name}` by `{how}`" for name, how in timing["methods"].items())
    load = timing["load"]
    lines += [
        f"11,022 patients in 15 studies; {methods}; m = {m}, maxit = {maxit}.",
        "",
        "| what | value | bar |",
        "| --- | --- | --- |",
        "| seconds of a new process, from imports to the last check of the imputations "
        f"| {timing['seconds']:.1f}{'' if timing['seconds'] <= BAR_SECONDS else ', **missed**'} "
        f"| {BAR_SECONDS} |",
        f"| of these set-up, compilation and the first iteration | {timing['first']:.1f} | |",
        f"| of these the other {maxit - 1} iterations | {timing['rest']:.1f} | |",
        f"| seconds of processor time | {timing['cpu']:.1f} | |",
        f"| load of the machine before (processes that run or wait) | {load:.1f} | |",
        f"| columns whose values keep their kind and categories | {len(timing['kept'])} of "
        f"{timing['columns']} | all |",
    ]
    if sets:
        table = pd.DataFrame(sets)
        ratio = table["imputed"] / table["complete"]
        error = ratio.std(ddof=1) / np.sqrt(len(ratio)) if len(ratio) > 1 else np.nan
        how = "; ".join(
            f"m = {a}, maxit = {b}"
            for a, b in sorted(set(zip(table["m"], table["maxit"], strict=True)))
        )
        lines += [
            f"| variance between studies, imputed / complete, mean of {len(ratio)} data sets "
            f"({how}) | {ratio.mean():.3f} (standard error {error:.3f}) "
            f"| 1 ± {BAR_VARIANCE:.2f}, of 20 |",
            f"| the same, ratio of the means | "
            f"{table['imputed'].mean() / table['complete'].mean():.3f} | |",
        ]
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


def main() -> None:
    """Time, then compare as many data sets as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", type=int, default=0, help="data sets to compare variances on")
    parser.add_argument("--m", type=int, default=20, help="imputations of each of these")
    parser.add_argument("--maxit", type=int, default=20, help="iterations of each of these")
    parser.add_argument("--record", type=Path, help="file with what is finished, one a line")
    parser.add_argument("--timing", type=Path, help="file with the timing; made if not there")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(time_imputation(20, 20)))
        return
    if arguments.timing and arguments.timing.exists():
        timing = json.loads(arguments.timing.read_text())
    else:
        load, began = os.getloadavg()[0], time.perf_counter()
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.impact", "--alone"],
                env=os.environ | {"JAX_COMPILATION_CACHE_DIR": empty},
                check=True,
                capture_output=True,
                text=True,
            )
        timing = json.loads(done.stdout.splitlines()[-1]) | {
            "load": load,
            "seconds": time.perf_counter() - began,
        }
        if arguments.timing:
            arguments.timing.write_text(json.dumps(timing))
    record = arguments.record
    sets = (
        [json.loads(line) for line in record.read_text().splitlines()]
        if record and record.exists()
        else []
    )
    known = {row["seed"] for row in sets}
    write(timing, sets, 20, 20)
    for seed in range(100, 100 + arguments.sets):
        if seed not in known:
            sets.append(compare_variance(seed, arguments.m, arguments.maxit))
            if record:
                with record.open("a") as out:
                    out.write(json.dumps(sets[-1]) + "\n")
            write(timing, sets, 20, 20)


if __name__ == "__main__":
    main()
