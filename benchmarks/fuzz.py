"""Random data frames thrown at `mice`: valid imputations or a clear error, and nothing else.

Command: ``python -m benchmarks.fuzz --frames 2000 --record fuzz.tsv``; with ``--minutes`` it
stops, and the same command goes on from the record. The numbers of rows and clusters come
from a short list, so that programs are shared; all else is random.
"""

import argparse
import warnings
from collections.abc import Iterable
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import pandas as pd

import jaxmice as jm
from benchmarks.machine import made_by

PAGE = Path(__file__).parent / "results" / "fuzz.md"

NAMES = ["x", "größe", "身長", "a b", "mean(x)", "class", "x:y", "1st", "", "`", "naïve ", "=~|"]


def random_frame(seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a data frame and further arguments of `mice`, with whatever data may be like."""
    rng = np.random.default_rng(seed)
    n = int(
        rng.choice([48, 48, 48, 48, 12, 2, 1, 0], p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.04, 0.04, 0.02])
    )
    names = [str(name) for name in rng.permutation(NAMES)[: rng.integers(1, 5)]]
    columns = [_column(n, rng) for _ in names]
    if rng.random() < 0.03:
        names[-1] = names[0]
    options: dict[str, Any] = {}
    if rng.random() < 0.7:
        names.append("g")
        columns.append(_clusters(n, rng))
        options["cluster"] = "g"
    data = pd.concat([pd.Series(c).reset_index(drop=True) for c in columns], axis=1)
    data.columns = pd.Index(names)
    if rng.random() < 0.2:
        data.index = pd.Index(rng.choice(["a", "b", "c"], size=n))
    return data, options


def _clusters(n: int, rng: np.random.Generator) -> pd.Series:
    count = int(rng.choice([12, 12, 12, 4, 1, max(n, 1)]))
    codes = pd.Series(rng.permutation(np.arange(n) % count))
    kind = rng.integers(5)
    if kind == 0:
        return codes.map(lambda code: f"Schule {code} ß")
    if kind == 1:
        return codes.astype("category")
    if kind == 2:
        return codes.astype(float).where(rng.random(n) > 0.02)
    return codes


def _column(n: int, rng: np.random.Generator) -> pd.Series:
    values = rng.normal(size=n)
    share = rng.choice([0.0, 0.1, 0.3, 0.9, 1.0], p=[0.2, 0.2, 0.4, 0.16, 0.04])
    holes = rng.random(n) < share
    kind = rng.integers(14)
    if kind < 4:
        scale = float(rng.choice([1.0, 1e-300, 1e-9, 1e9, 1e150, 1e300]))
        column = pd.Series(values * scale + float(rng.choice([0.0, 5.0, 1e9])))
        if kind == 0 and n and rng.random() < 0.2:
            column[rng.integers(n)] = rng.choice([np.inf, -np.inf])
        return column.mask(holes)
    if kind == 4:
        return pd.Series(np.round(np.exp(values))).mask(holes)
    if kind == 5:
        return pd.Series(rng.integers(-5, 6, n), dtype="Int64").mask(holes)
    if kind == 6:
        return pd.Series(values > 0, dtype="boolean").mask(holes)
    if kind == 7:
        return pd.Series((values > 0).astype(float)).mask(holes)
    if kind == 8:
        codes = np.where(holes, -1, rng.integers(0, 3, n))
        return pd.Series(pd.Categorical.from_codes(codes, ["rot", "grün", "blau", "never"]))
    if kind == 9:
        codes = np.where(holes, -1, rng.integers(0, 4, n))
        return pd.Series(pd.Categorical.from_codes(codes, [1, 2, 3, 4], ordered=True))
    if kind == 10:
        return pd.Series(rng.choice(["ja", "nein", "vielleicht"], n), dtype=object).mask(holes)
    if kind == 11:
        return pd.Series(float(rng.choice([0.0, 1.0, 7.5])), index=range(n)).mask(holes)
    if kind == 12:
        days = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, n), "D"))
        return days.mask(holes) if rng.random() < 0.3 else days
    mixed = [["a", 1], [1 + 2j, 1j], [(1, 2), (3, 4)], [None, None]][rng.integers(4)]
    return pd.Series([mixed[k % 2] for k in range(n)], dtype=object)


def outcome(seed: int, maxit: int = 1) -> str:
    """Return what became of one frame: ``imputed``, or the code of the error.

    With `maxit` 0 nothing is compiled; starting values are checked in place of draws.

    Raises
    ------
    AssertionError
        What came out is neither valid nor an error of jaxmice.
    """
    data, options = random_frame(seed)
    before = data.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", jm.errors.JaxMiceWarning)
            imp = jm.mice(data, m=2, maxit=maxit, seed=seed, **options)
            done = [imp.complete(1), imp.complete(2)]
    except jm.errors.JaxMiceError as error:
        found = error.code
    else:
        found = _check(imp, done, options.get("cluster"))
    pd.testing.assert_frame_equal(data, before)
    return found


def _check(imp: jm.ImputedData, completed: list[pd.DataFrame], cluster: str | None) -> str:
    """Check completed data; say whether all cells are filled, or some left with an event."""
    data, where = imp.data, imp.where.to_numpy()
    left = {event.dep for event in imp.events if event.event in ("left_missing", "row_dropped")}
    for done in completed:
        assert list(done.columns) == list(data.columns)
        assert done.index.equals(data.index)
        for j, name in enumerate(data.columns):
            values = done[name][where[:, j]]
            assert name in left or not values.isna().any(), f"{name!r} has holes"
            if values.dtype.kind == "f":
                assert not np.isinf(values.to_numpy(float)).any(), f"{name!r} is infinite"
            kept = data[name].notna().to_numpy() & ~where[:, j]
            same = (done[name][kept] == data[name][kept]).to_numpy(bool)
            assert same.all(), f"{name!r} has changed where it was observed"
    holes = completed[0].isna().to_numpy().any(axis=0)
    named = " ".join(event.message for event in imp.events)
    for name in data.columns[holes]:
        assert name == cluster or repr(name) in named, f"{name!r} was left silently"
    return "imputed in part, with an event" if holes.any() else "imputed"


def fuzz(seeds: Iterable[int], maxit: int, record: Path, end: float) -> dict[int, str]:
    """Return what became of each frame; what `record` holds already is not run again.

    Every outcome is added to `record` at once, and no frame begins after the time `end`, so
    that a long run may be cut into short ones.
    """
    lines = record.read_text().splitlines() if record.exists() else []
    done = {
        int(seed): found
        for seed, its, found in (line.split("\t", 2) for line in lines)
        if int(its) == maxit
    }
    for seed in seeds:
        if seed in done:
            continue
        if time() > end:
            break
        try:
            done[seed] = outcome(seed, maxit)
        except Exception as error:  # whatever it is, it is a fault
            reason = str(error).splitlines()[0] if str(error) else ""
            done[seed] = f"fault: {type(error).__name__}: {reason}"
            print(f"frame {seed}: {done[seed]}", flush=True)
        with record.open("a") as file:
            file.write(f"{seed}\t{maxit}\t{done[seed]}\n")
    return done


def main() -> None:
    """Run and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no frame after that")
    parser.add_argument("--record", type=Path, required=True, help="outcomes, to go on from")
    parser.add_argument("--out", type=Path, default=PAGE)
    chosen = parser.parse_args()
    end = time() + 60 * chosen.minutes
    seeds = range(chosen.first, chosen.first + chosen.frames)
    start, drawn = (fuzz(seeds, maxit, chosen.record, end) for maxit in (0, 1))
    kinds = sorted({found.split(":")[0] for found in (*start.values(), *drawn.values())})
    count = {kind: [_count(done, kind) for done in (start, drawn)] for kind in kinds}
    faults = [
        f"- frame {seed}, maxit={maxit}: {found}"
        for maxit, done in enumerate((start, drawn))
        for seed, found in sorted(done.items())
        if found.startswith("fault")
    ]
    page = [
        "# Random data frames",
        "",
        made_by(f"python -m benchmarks.fuzz --frames {chosen.frames} --record fuzz.tsv"),
        "",
        "Each frame has random columns of any dtype, holes, magnitudes, names and clusters. `mice`",
        "must impute it, observed cells unchanged and no imputed cell missing, or raise one of its",
        "own errors, whose codes are counted. Every frame is set up and started (`maxit=0`), which",
        f"compiles nothing; {len(drawn)} of {chosen.frames} were drawn too (`maxit=1`).",
        "",
        "| outcome | frames started | frames drawn |",
        "|---|---|---|",
        *(f"| {kind} | {a} | {b} |" for kind, (a, b) in count.items()),
        f"| all | {len(start)} | {len(drawn)} |",
        "",
        *faults,
    ]
    print("\n".join(page))
    chosen.out.write_text("\n".join(page).rstrip() + "\n")


def _count(done: dict[int, str], kind: str) -> int:
    return sum(found.split(":")[0] == kind for found in done.values())


if __name__ == "__main__":
    main()
