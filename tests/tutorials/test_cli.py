import subprocess
import sys

import pytest

from jaxmice.cli import main


def complaint(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_without_a_command_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "tutorial" in capsys.readouterr().out


def test_help_lists_the_tutorials(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["tutorial", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "popularity" in shown
    assert "--seed" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("jaxmice ")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tutorial", "popularty"], "did you mean 'popularity'?"),
        (["tutorial", "xyz"], "there is 'popularity'"),
        (["tutorial"], "NAME"),
        (["tutorial", "popularity", "--data", "d.csv"], "runs on its own data only"),
        (["impute"], "impute"),
        (["tutorial", "popularity", "--m", "1"], "'1' is not a whole number of at least 2"),
        (["tutorial", "popularity", "--seed", "-1"], "at least 0"),
        (["tutorial", "popularity", "--out", __file__], "is a file; name a folder"),
    ],
)
def test_bad_arguments_are_named_and_end_with_status_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in complaint(argv, capsys)


def test_a_folder_that_cannot_be_made_is_an_error_before_the_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tutorial", "popularity", "--out", f"{__file__}/below"]) == 1
    assert "jaxmice: " in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jaxmice", "tutorial", "nothing"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no tutorial 'nothing'" in done.stderr


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from jaxmice.cli import main; main([])\n"
        "heavy = {'matplotlib', 'formulaic', 'statsmodels', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
