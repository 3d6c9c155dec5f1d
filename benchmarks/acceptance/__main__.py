"""Run one acceptance simulation and write its page.

python -m benchmarks.acceptance A2 [--replications N] [--seed S] [--out FOLDER]
    [--only SETTING ...] [--parts FOLDER]
"""

import argparse
import importlib
import inspect
import time
import warnings
from pathlib import Path

from benchmarks.machine import made_by


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="benchmarks.acceptance", description=__doc__)
    parser.add_argument("study", help="name of the simulation, A2 for example")
    parser.add_argument("--replications", type=int, help="data sets per setting")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="settings to run, where a study names them")
    parser.add_argument("--parts", type=Path, help="folder of finished parts, likewise")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    study = importlib.import_module(f"benchmarks.acceptance.{options.study.lower()}")
    replications = options.replications
    if replications is None:
        replications = getattr(study, "REPLICATIONS", 200)
    chosen = {"only": options.only, "parts": options.parts}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if not chosen.keys() <= inspect.signature(study.run).parameters.keys():
        parser.error(f"{options.study} has no parts: leave out --only and --parts")
    warnings.simplefilter("ignore")
    began, cpu = time.perf_counter(), time.process_time()
    body = study.run(replications, options.seed, **chosen)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    command = f"python -m benchmarks.acceptance {options.study} --replications {replications}"
    title = (inspect.getdoc(study) or options.study).splitlines()[0].rstrip(".")
    page = (
        f"# {title}\n\n{made_by(f'{command} --seed {options.seed}')}, float64; {seconds:.0f} s, "
        f"{cpu:.0f} s of processor time.\n\n{body}"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.study.upper()}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
