"""Results and unfinished runs on disk: what is read is what was written, to the last bit."""

import json
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError, JaxMiceWarning, RunError
from tests.frames import CLUSTERS, SIZE, two_level

N = CLUSTERS * SIZE
ITERATIONS = 6

ARGUMENTS: dict[str, Any] = {
    "m": 3,
    "method": {"y": "2l.pan", "sort": "sample", "total": "~ x + y"},
    "roles": {"y": {"x": "random", "w": "fixed", "z": "none", "sort": "none", "total": "none"}},
    "post": {"y": jm.post.squeeze(-2, 2)},
    "cluster": "g",
    "seed": 11,
    "screen": "off",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:W00"),
    pytest.mark.filterwarnings("ignore:W14"),
]


def _data() -> pd.DataFrame:
    """Return data with a number, categories and a passive column to impute."""
    data = two_level(("y",))
    data["sort"] = pd.Categorical(np.resize(["a", "b", "c"], N))
    data.loc[3::7, "sort"] = None
    data["total"] = data["x"] + data["y"]
    return data.set_index(pd.Index([f"r{i}" for i in range(N)], name="label"))


def _mice(**changes: Any) -> jm.ImputedData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return jm.mice(_data(), **{**ARGUMENTS, **changes})


@pytest.fixture(scope="module")
def whole() -> jm.ImputedData:
    return _mice(maxit=ITERATIONS)


@pytest.fixture(scope="module")
def part() -> jm.ImputedData:
    return _mice(maxit=2)


def _check_equal(a: jm.ImputedData, b: jm.ImputedData) -> None:
    """Assert that two results agree in every bit."""
    assert (a.m, a.iteration, a.variables) == (b.m, b.iteration, b.variables)
    for number in range(a.m + 1):
        pd.testing.assert_frame_equal(a.complete(number), b.complete(number), check_exact=True)
    for name in ("chain_mean", "chain_var", "chain_between", "chain_within"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    pd.testing.assert_frame_equal(a.predictor_matrix, b.predictor_matrix)
    assert a.method == b.method
    assert repr(a) == repr(b)


def test_storage_a_run_comes_back_and_goes_on(
    part: jm.ImputedData, whole: jm.ImputedData, tmp_path: Path
) -> None:
    part.save(tmp_path / "part.jaxmice")
    again = jm.load(tmp_path / "part.jaxmice")
    _check_equal(again, part)
    pd.testing.assert_frame_equal(again.logged_events, part.logged_events)
    assert again.info["seed"] == 11
    _check_equal(again.continue_run(ITERATIONS - 2), whole)
    _check_equal(again.add_imputations(1), part.add_imputations(1))


def test_storage_parts_of_chains_come_back(part: jm.ImputedData, tmp_path: Path) -> None:
    joined = _mice(m=2, maxit=2).add_imputations(1)
    joined.save(tmp_path / "joined.jaxmice")
    _check_equal(jm.load(tmp_path / "joined.jaxmice").continue_run(1), joined.continue_run(1))


def test_storage_a_start_comes_back(tmp_path: Path) -> None:
    start = _mice(maxit=0)
    start.save(tmp_path / "start.jaxmice")
    _check_equal(jm.load(tmp_path / "start.jaxmice"), start)


def test_storage_combined_results_come_back(part: jm.ImputedData, tmp_path: Path) -> None:
    combined = jm.ibind(part.select([1, 2]), part.select(3))
    changed = combined.filter("w > 0").assign(twice=lambda d: 2 * d["y"])
    for k, imp in enumerate((combined, changed)):
        imp.save(tmp_path / f"{k}.jaxmice")
        again = jm.load(tmp_path / f"{k}.jaxmice")
        _check_equal(again, imp)
        assert again.where.equals(imp.where)
        pd.testing.assert_frame_equal(again.logged_events, imp.logged_events)
    with pytest.raises(RunError, match="E71"):
        again.add_imputations(1)
    with pytest.raises(DataError, match=r"E70.*use load\(\)"):
        jm.resume(tmp_path / "0.jaxmice")


KILLED = """
import os, signal, sys, warnings
from tests.storage.test_storage_runs import _mice, ITERATIONS

def kill(iteration, block):
    if iteration == 4 and block == "sort":
        os.kill(os.getpid(), signal.SIGKILL)

_mice(maxit=ITERATIONS, checkpoint=sys.argv[1], progress=kill)
"""


def test_storage_a_killed_run_ends_as_if_it_had_not_been(
    whole: jm.ImputedData, tmp_path: Path
) -> None:
    path = tmp_path / "run.jaxmice"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    reached = jm.load(path).iteration
    assert 1 <= reached <= 3
    _check_equal(jm.resume(path), whole)
    _check_equal(jm.load(path), whole)
    # Nothing is left to do: the same again.
    _check_equal(jm.resume(path), whole)


def test_storage_an_interrupted_run_is_finished(whole: jm.ImputedData, tmp_path: Path) -> None:
    path = tmp_path / "run.jaxmice"

    def interrupt(iteration: int, block: str) -> None:
        if (iteration, block) == (2, "sort"):
            signal.raise_signal(signal.SIGINT)

    early = _mice(maxit=ITERATIONS, checkpoint=path, progress=interrupt)
    assert early.iteration == 2
    _check_equal(jm.load(path), early)
    imp = jm.resume(path)
    _check_equal(imp, whole)
    assert "interrupted" not in set(imp.logged_events["event"])


@pytest.fixture
def saved(part: jm.ImputedData, tmp_path: Path) -> Path:
    path = tmp_path / "saved.jaxmice"
    part.save(path)
    return path


def _with_content(path: Path, **changes: Any) -> None:
    """Change what a file says of itself."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members["content.json"]) | changes
    members["content.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)


def test_storage_damaged_and_foreign_files(saved: Path) -> None:
    whole = saved.read_bytes()
    with pytest.raises(DataError, match="E70: there is no file"):
        jm.load(saved.with_name("none"))
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for bad in (whole[:-100], whole[: len(whole) // 2], b"", b"PK no zip", flipped):
        saved.write_bytes(bad)
        with pytest.raises(DataError, match=r"E70.*cannot be read as a file of jaxmice"):
            jm.load(saved)
    np.savez(saved, a=np.zeros(3))
    with pytest.raises(DataError, match="E70"):
        jm.resume(saved.with_suffix(".jaxmice.npz"))


def test_storage_other_versions(saved: Path) -> None:
    _with_content(saved, jaxmice=99)
    with pytest.raises(DataError, match=r"E70.*later version"):
        jm.load(saved)
    _with_content(saved, jaxmice=1, random={"implementation": "another"})
    with pytest.warns(JaxMiceWarning, match="W19"):
        jm.load(saved)
    method = {"$": "dict", "items": [["y", "norm"]]}
    outcome = {"$": "dict", "items": [["method", method]]}
    _with_content(saved, outcome=outcome, version="0.0.1")
    with pytest.raises(DataError, match=r"E70.*version 0.0.1.*method"):
        jm.load(saved)


def test_storage_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    seen: list[int] = []

    def note(iteration: int, block: str) -> None:
        seen.append(iteration)

    def double(values: Any, column: Any) -> Any:
        return 2 * values

    with pytest.raises(DataError, match=r"E72: the argument post=: y is of type function"):
        _mice(post={"y": double}, checkpoint=tmp_path / "a", progress=note)
    with pytest.raises(DataError, match=r"E70.*cannot be written"):
        _mice(checkpoint=tmp_path / "no" / "a", progress=note)
    assert not seen
    assert not list(tmp_path.iterdir())


def test_storage_init_frame_comes_back(tmp_path: Path) -> None:
    init = _data().assign(y=lambda d: d["y"].fillna(0.5), sort=lambda d: d["sort"].fillna("a"))
    imp = _mice(init=init, maxit=1)
    imp.save(tmp_path / "a.jaxmice")
    again = jm.load(tmp_path / "a.jaxmice")
    _check_equal(again.add_imputations(1), imp.add_imputations(1))
