"""Files of other programs: what is written comes back, here and in R."""

import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice import exchange
from jaxmice.errors import DataError, JaxMiceWarning
from tests.frames import CLUSTERS, SIZE, two_level

N = CLUSTERS * SIZE

READERS: dict[str, tuple[str, Callable[..., jm.ImputedData]]] = {
    "to_csv": ("long.csv", exchange.read_long_csv),
    "to_parquet": ("folder", exchange.read_parquet),
    "to_stata": ("long.dta", exchange.read_stata_mi),
    "to_spss": ("long.sav", exchange.read_spss_mi),
}


@pytest.fixture(scope="module")
def imp() -> jm.ImputedData:
    """Return imputations of numbers, whole numbers, categories and truth values."""
    data = two_level(("x", "y"))
    rng = np.random.default_rng(3)
    data["count"] = pd.array(rng.integers(0, 5, N), dtype="Int64")
    data["grade"] = pd.Categorical(rng.choice(list("abc"), N), list("abc"), ordered=True)
    data["sort"] = pd.Categorical(rng.choice(["red sky", "gruen", "blå"], N))
    data["text"] = rng.choice(["left", "right"], N)
    data["sure"] = pd.array(rng.random(N) > 0.5, dtype="boolean")
    for k, name in enumerate(["count", "grade", "sort", "text", "sure"]):
        data.loc[k::11, name] = None
    data.index = pd.Index([f"row {i}" for i in range(N)])
    method = {"x": "norm", "y": "norm", "count": "sample", "grade": "sample"}
    method |= {"sort": "sample", "text": "sample", "sure": "sample"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return jm.mice(data, m=2, method=method, cluster="g", maxit=1, seed=1)


def _plain(series: pd.Series) -> list[Any]:
    """Return values in a form that no file format changes: numbers, text and None."""
    values = series.astype(object).where(series.notna(), None).tolist()
    return [float(v) if isinstance(v, int | float | bool | np.number) else v for v in values]


@pytest.mark.parametrize("writer", READERS)
def test_exchange_what_is_written_comes_back(
    imp: jm.ImputedData, tmp_path: Path, writer: str
) -> None:
    name, read = READERS[writer]
    getattr(imp, writer)(tmp_path / name)
    again = read(tmp_path / name, cluster="g")
    assert (again.m, set(again.variables)) == (imp.m, set(imp.variables))
    for number in range(imp.m + 1):
        before, after = imp.complete(number), again.complete(number)
        assert list(after) == list(before)
        for column in before:
            expected = _plain(before[column])
            if column == "sure" and writer == "to_csv":
                expected = _plain(before[column].astype("boolean"))
            assert _plain(after[column]) == expected, (writer, number, column)
    assert again.model.cluster == "g"
    assert not list(tmp_path.glob(".*"))


def test_exchange_parquet_keeps_types_rows_and_clusters(
    imp: jm.ImputedData, tmp_path: Path
) -> None:
    imp.to_parquet(tmp_path / "out")
    imp.to_parquet(tmp_path / "out")
    again = exchange.read_parquet(tmp_path / "out")
    assert again.model.cluster == "g"
    pd.testing.assert_frame_equal(again.complete(2), imp.complete(2))
    whole = pd.read_parquet(tmp_path / "out")
    assert len(whole) == 3 * N
    assert sorted(whole["imp"].astype(int).unique()) == [0, 1, 2]
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match=r"E70.*holds something else"):
        imp.to_parquet(tmp_path / "mine")


def test_exchange_stata_columns(imp: jm.ImputedData, tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    imp.to_stata(tmp_path / "long.dta")
    frame, about = pyreadstat.read_dta(str(tmp_path / "long.dta"))
    incomplete = imp.data.isna().any(axis=1).to_numpy()
    assert (frame["_mi_miss"][:N].to_numpy() == incomplete).all()
    assert frame["_mi_miss"][N:].isna().all()
    assert frame["_mi_m"].tolist() == np.repeat([0, 1, 2], N).tolist()
    assert frame["_mi_id"].tolist() == list(range(1, N + 1)) * 3
    labels = about.variable_value_labels["grade"]
    assert list(labels.values()) == ["a", "b", "c"]
    first = frame["grade"][N : 2 * N].map(labels)
    assert first.tolist() == imp.complete(1)["grade"].tolist()


def test_exchange_stata_marginal_style_is_read(imp: jm.ImputedData, tmp_path: Path) -> None:
    imp.to_stata(tmp_path / "flong.dta")
    flong = pd.read_stata(tmp_path / "flong.dta")
    incomplete = flong["_mi_id"].isin(flong.loc[flong["_mi_miss"] == 1, "_mi_id"])
    flong[(flong["_mi_m"] == 0) | incomplete].to_stata(tmp_path / "mlong.dta", write_index=False)
    again = exchange.read_stata_mi(tmp_path / "mlong.dta")
    expected = exchange.read_stata_mi(tmp_path / "flong.dta")
    pd.testing.assert_frame_equal(again.complete(2), expected.complete(2))


def test_exchange_spss_columns(imp: jm.ImputedData, tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    imp.to_spss(tmp_path / "long.sav")
    frame, about = pyreadstat.read_sav(str(tmp_path / "long.sav"))
    assert frame.columns[0] == "Imputation_"
    assert frame["Imputation_"].tolist() == np.repeat([0, 1, 2], N).tolist()
    assert about.variable_measure["grade"] == "ordinal"
    assert exchange.read_spss_mi(tmp_path / "long.sav").data["grade"].cat.ordered


def test_exchange_mplus_files(imp: jm.ImputedData, tmp_path: Path) -> None:
    data = imp.data.rename(columns={"count": "a very long name", "grade": "a very long other"})
    renamed = jm.from_list(
        [frame.set_axis(data.columns, axis=1) for frame in imp], data, cluster="g"
    )
    renamed.to_mplus(tmp_path / "mplus")
    files = (tmp_path / "mplus" / "implist.dat").read_text().split()
    assert files == ["imp1.dat", "imp2.dat"]
    table = np.loadtxt(tmp_path / "mplus" / files[1])
    completed = imp.complete(2)
    np.testing.assert_allclose(table[:, 2], completed["x"])
    grade = list(completed).index("grade")
    assert table[:, grade].tolist() == (completed["grade"].cat.codes + 1).tolist()
    stub = (tmp_path / "mplus" / "imputed.inp").read_text()
    assert "TYPE = IMPUTATION;" in stub
    assert "CLUSTER = g;" in stub
    names = stub.split("NAMES =")[1].split(";")[0].split()
    assert len(names) == len(set(names)) == len(data.columns)
    assert max(map(len, names)) <= 8
    assert max(map(len, stub.splitlines())) <= 90
    assert "! a_very_1 is a very long other" in stub


R_SCRIPT = """
suppressMessages(library(mice))
args <- commandArgs(TRUE)
long <- read.csv(args[1], stringsAsFactors = TRUE)
imp <- as.mids(long)
stopifnot(imp$m == 2, nrow(imp$data) == {n}, sum(is.na(imp$data$y)) == {missing})
stopifnot(is.logical(imp$data$sure), is.factor(imp$data$sort))
write.csv(complete(imp, "long", include = TRUE), args[2], row.names = FALSE)
"""


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_exchange_r_reads_and_writes_the_csv(imp: jm.ImputedData, tmp_path: Path) -> None:
    found = subprocess.run(["Rscript", "-e", "library(mice)"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("R has no package mice")
    imp.to_csv(tmp_path / "ours.csv")
    script = tmp_path / "read.R"
    script.write_text(R_SCRIPT.format(n=N, missing=int(imp.data["y"].isna().sum())))
    done = subprocess.run(
        ["Rscript", script, tmp_path / "ours.csv", tmp_path / "theirs.csv"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = exchange.read_long_csv(tmp_path / "theirs.csv", cluster="g")
    for number in (1, 2):
        before, after = imp.complete(number), again.complete(number)
        np.testing.assert_allclose(after["y"], before["y"], rtol=1e-12)
        assert after["sort"].tolist() == before["sort"].tolist()
        assert _plain(after["count"]) == _plain(before["count"])


def test_exchange_lists_of_csv_files(imp: jm.ImputedData, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.csv" for number in range(3)]
    for number, path in enumerate(paths):
        imp.complete(number).to_csv(path, index=False)
    again = exchange.read_mitml_list(paths[1:], paths[0])
    np.testing.assert_array_equal(again.complete(2)["y"], imp.complete(2)["y"])


@pytest.mark.parametrize("ending", ["csv", "parquet", "dta", "sav"])
def test_exchange_data_sets_are_read_by_their_ending(ending: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, np.nan, 1 / 3], "b": ["x", "y", None]})
    path = tmp_path / f"data.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "parquet":
        frame.to_parquet(path)
    elif ending == "dta":
        frame.fillna({"b": ""}).to_stata(path, write_index=False)
    else:
        pytest.importorskip("pyreadstat").write_sav(frame, str(path))
    again = exchange.read_data(path)
    np.testing.assert_array_equal(again["a"], frame["a"])
    assert again["b"][:2].tolist() == ["x", "y"]
    assert again["b"].isna().tolist() == [False, False, True]


def test_exchange_none_is_a_category_and_na_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("pupil,x\nNone,1\nBoth,NA\n,2.5\nNULL,nan\n")

    data = jm.read_data(path)

    assert data["pupil"].tolist()[:2] == ["None", "Both"]
    assert data["pupil"].isna().tolist() == [False, False, True, True]
    assert data["x"].isna().tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    "text",
    ["a;b\n1,5;x,y\n;z\n", "a;b\n1.5;x,y\n;z\n", "a\tb\n1.5\tx,y\n\tz\n"],
    ids=["semicolon", "semicolon and point", "tabulator"],
)
def test_exchange_text_without_commas_between_columns(text: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    data = exchange.read_data(path)
    assert data["b"].tolist() == ["x,y", "z"]
    np.testing.assert_array_equal(data["a"], [1.5, np.nan])


def test_exchange_labels_of_special_values_leave_numbers(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pd.DataFrame({"age": [40.0, 51.0, 99.0], "sex": [1.0, 2.0, 1.0]})
    labels = {"age": {99: "refused"}, "sex": {1: "girl", 2: "boy"}}
    pyreadstat.write_sav(frame, str(tmp_path / "d.sav"), variable_value_labels=labels)
    pyreadstat.write_dta(frame, str(tmp_path / "d.dta"), variable_value_labels=labels)
    for name in ("d.sav", "d.dta"):
        again = exchange.read_data(tmp_path / name)
        assert again["age"].tolist() == [40, 51, 99]
        assert again["sex"].tolist() == ["girl", "boy", "girl"]
        assert not again["sex"].cat.ordered


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.dta", "a.sav"])
def test_exchange_damaged_files_are_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="E70: there is no file"):
        exchange.read_data(tmp_path / name)
    (tmp_path / name).write_bytes(b"" if name == "a.csv" else b"\x00garbage")
    with pytest.raises(DataError, match=r"E70.*cannot be read as"):
        exchange.read_data(tmp_path / name)


def test_exchange_refusals(imp: jm.ImputedData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"E70.*ends in '.xls'"):
        exchange.read_data("a.xls")
    with pytest.raises(DataError, match=r"E70.*cannot be written"):
        imp.to_csv(tmp_path / "no" / "where.csv")
    na = imp.assign(word="NA")
    with pytest.raises(DataError, match=r"E70: 'word' has a value 'NA'"):
        na.to_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"E70.*reserved by Stata"):
        imp.assign(_mi_m=1).to_stata(tmp_path / "a.dta")
    with pytest.raises(DataError, match=r"E70: column 'when' holds dates"):
        imp.assign(when=pd.Timestamp("2020-01-01")).to_mplus(tmp_path / "mplus")
    with pytest.raises(DataError, match=r"E70: SPSS does not allow the names '_a', 'b c', 'to'"):
        imp.assign(**{"_a": 1, "b c": 1, "to": 1}).to_spss(tmp_path / "a.sav")
    with pytest.raises(DataError, match=r"E70.*has no place"):
        imp.assign(when=pd.Timedelta(days=1)).to_spss(tmp_path / "a.sav")
    pyreadstat = pytest.importorskip("pyreadstat")
    pyreadstat.write_sav(pd.DataFrame({"a": [1.0]}), str(tmp_path / "b.sav"))
    with pytest.raises(DataError, match=r"E70.*no column 'Imputation_'"):
        exchange.read_spss_mi(tmp_path / "b.sav")
    assert [path.name for path in tmp_path.iterdir()] == ["b.sav"]


def test_rows_with_repeated_labels_are_numbered(tmp_path: Path) -> None:
    data = two_level().set_index(pd.Index([1, 2] * (N // 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        imp = jm.mice(data, m=2, method="sample", cluster="g", seed=1)
        imp.to_csv(tmp_path / "long.csv")
        back = exchange.read_long_csv(tmp_path / "long.csv")
    np.testing.assert_allclose(back.complete(2)["y"], imp.complete(2)["y"])
