from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.cli import main


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
    argv = ["impute", str(file), "--cluster", "school", "--formula", formula, "--m", "2"]
    assert main([*argv, "--maxit", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out.split() == [
        str(out / f) for f in ("imputations.csv", "pooled.csv", "report.html")
    ]
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
    assert "Pooled results" in (out / "report.html").read_text(encoding="utf-8")


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
