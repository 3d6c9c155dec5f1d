"""The README keeps its promises: its Python runs, and prints what it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", README, flags=re.DOTALL)


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def test_the_readme_has_an_example_with_output() -> None:
    assert any(output for _, output in BLOCKS)


@pytest.mark.parametrize(("code", "output"), BLOCKS)
def test_python_of_the_readme_runs_and_prints_what_it_shows(
    code: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})

    words = printed.getvalue().split()
    assert len(words) == len(output.split())
    for word, shown in zip(words, output.split(), strict=True):
        number = _number(shown)
        if number is None:
            assert word == shown
        else:
            # Other versions of JAX may round differently, and a chain then goes another way.
            assert float(word) == pytest.approx(number, abs=0.03)


def test_commands_are_one_line_each() -> None:
    commands = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)

    assert [command.count("\n") for command in commands] == [1, 1]
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
