import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.analysis.run import MIXED, SINGLE
from jaxmice.cli import ENGINES, main


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pop.csv"
    data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    data[data["school"] <= 30].to_csv(path, index=False)
    return path


def test_impute_writes_imputations_results_and_report(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    formula = "popular ~ sex + (1 | school)"
    out = tmp_path / "out"
    argv = ["impute", str(file), "--formula", formula, "--m", "2"]
    assert main([*argv, "--maxit", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out.split() == [
        str(out / f) for f in ("imputations.csv", "pooled.csv", "components.csv", "report.html")
    ]
    # The clusters are those of the formula.
    assert "2l." in shown.err
    assert "iteration 1: popular" in shown.err
    long = pd.read_csv(out / "imputations.csv")
    data = pd.read_csv(file)
    for number in (1, 2):
        part = long[long[".imp"] == number]
        assert part["popular"].notna().all()
        seen = data["popular"].notna().to_numpy()
        np.testing.assert_allclose(part["popular"][seen], data["popular"][seen])
    pooled = pd.read_csv(out / "pooled.csv")
    assert pooled["term"].tolist() == ["Intercept", "sex"]
    assert "ICC|school" in pd.read_csv(out / "components.csv")["term"].tolist()
    assert "Pooled results" in (out / "report.html").read_text(encoding="utf-8")


def test_report_is_written_though_the_analysis_fails(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["impute", str(file), "--formula", "popular ~ sex + (1 | school)", "--m", "2"]
    argv += ["--maxit", "1", "--engine", "glmm:binomial", "--out", str(tmp_path)]
    assert main(argv) == 1
    assert "E67" in capsys.readouterr().err
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"imputations.csv", "report.html"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--formula", "popular ~ sex", "--engine", "lmm"], "E58: formula 'popular ~ sex' has no"),
        (["--formula", "popular ~ age + (1 | school)"], "E58: .* do not have: age"),
    ],
)
def test_an_analysis_that_cannot_be_run_is_refused_before_imputing(
    words: list[str], message: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["impute", str(file), *words, "--out", str(out)]) == 1
    assert re.match(f"jaxmice: {message}", capsys.readouterr().err)
    assert not out.exists()


def test_inspect_tells_what_is_missing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "--cluster", "school"]) == 0
    shown = capsys.readouterr().out
    missing = pd.read_csv(file)["popular"].isna().sum()
    assert f"4 columns, {missing} missing cells" in shown
    assert "design_effect" in shown
    assert "2l." in shown
    assert main(["inspect", str(file)]) == 0
    assert "Patterns" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["none.csv"], "E70: there is no file 'none.csv'"),
        (["notes.txt"], "E70"),
        (["FILE", "--cluster", "skool"], "E12: cluster 'skool' not found"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "impute"])
def test_input_that_cannot_be_used_ends_with_status_1(
    command: str, more: list[str], message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *(str(file) if word == "FILE" else word for word in more)]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"jaxmice: {message}")
    assert not shown.out


def test_unknown_format_ends_with_status_2(file: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["impute", str(file), "--format", "xlsx"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("name", "ending", "read"),
    [("stata", "dta", jm.read_stata_mi), ("spss", "sav", jm.read_spss_mi)],
)
def test_methods_and_options_are_passed_on_and_other_formats_read_back(
    name: str, ending: str, read: Any, file: Path, tmp_path: Path
) -> None:
    argv = ["impute", str(file), "--cluster", "school", "--m", "2", "--maxit", "1"]
    own = ["--method", "popular=2l.pmm", "--option", "popular.donors=3"]
    assert main([*argv, *own, "--format", name, "--out", str(tmp_path)]) == 0
    imp = read(tmp_path / f"imputations.{ending}")
    data = pd.read_csv(file)
    assert imp.m == 2
    # The method borrows observed scores, unlike the one by default.
    missing = data["popular"].isna()
    for drawn in imp.complete("all").values():
        assert drawn.loc[missing.to_numpy(), "popular"].isin(data["popular"].dropna()).all()


def test_a_suggested_model_is_amended(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formula = "popular ~ sex + (1 | school)"
    argv = ["impute", str(file), "--cluster", "school", "--formula", formula]
    assert main([*argv, "--method", "popular=2l.pan", "--option", "popular.inner_iter=0"]) == 1
    assert "E51: 2l.pan: inner_iter must be a positive integer, got 0" in capsys.readouterr().err


def test_a_dry_run_shows_the_model_and_writes_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["impute", str(file), "--formula", "popular ~ sex + (1 | school)", "--dry-run"]
    argv += ["--mnar", "popular=texp", "--out", str(tmp_path / "out")]
    assert main([*argv, "--option", "popular.inner_iter=7"]) == 0
    suggestion, model = capsys.readouterr().out.split("Imputation model: ")
    assert "2l.heckman" in suggestion
    assert "2l.heckman" in model
    assert not (tmp_path / "out").exists()


def test_a_selection_model_needs_an_analysis(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["impute", str(file), "--cluster", "school", "--mnar", "popular=texp"]) == 1
    assert "E18: --mnar needs --formula" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "popular"],
        ["--mnar", "popular"],
        ["--option", "donors=3"],
        ["--engine", "lm"],
        ["--format", "xlsx"],
    ],
)
def test_words_that_cannot_be_used_end_with_status_2(words: list[str], file: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["impute", str(file), *words])
    assert stop.value.code == 2


def test_the_engines_are_those_of_the_analysis() -> None:
    assert ENGINES == (*MIXED, *SINGLE)
