"""The report is valid HTML, says what happened, and fits a phone."""

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects headings, images and text, and checks that elements are nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.scrolls: list[dict[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(found)
        if found.get("class") == "scroll":
            self.scrolls.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def imp() -> Any:
    data = jm.datasets.load_popmis()[["school", "popular", "sex"]]
    data = data[data["school"] <= 30].reset_index(drop=True)
    data["mood <b>&"] = pd.Categorical(np.where(data.index % 2, "low", "high"))
    data.loc[data.index % 7 == 0, "mood <b>&"] = np.nan
    return jm.mice(
        data,
        m=2,
        maxit=4,
        cluster="school",
        seed=1,
        method={"popular": "2l.pan", "mood <b>&": "sample"},
        screen="off",
    )


@pytest.fixture(scope="module")
def page(imp: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    imp.report(path, imp.analyze("popular ~ sex + (1 | school)"), title="Popularity & mood")
    return path


@pytest.fixture(scope="module")
def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def test_report_is_accessible(read: Reader) -> None:
    assert read.headings[0] == 1
    assert read.headings.count(1) == 1
    assert max(np.diff(read.headings)) <= 1
    assert read.images
    assert all(image["alt"] for image in read.images)
    # What scrolls can be reached by the keyboard, and has a name.
    assert all(s["tabindex"] == "0" and s["aria-label"] for s in read.scrolls)


def test_report_needs_no_network(page: Path, read: Reader) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|iframe)", text)
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(?!data:)(https?:)?//""", text)
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") for image in read.images)


def test_report_says_what_happened(imp: Any, read: Reader) -> None:
    assert "Popularity & mood" in read.text
    assert "mood <b>&" in read.text
    cells = sum(len(values) for values in imp.imp.values())
    assert f"{cells:,}imputed cells" in read.text
    assert "random effects of the intercept by school" in read.text
    estimate = imp.analyze("popular ~ sex + (1 | school)").pool().params["sex"]
    assert f"sex{estimate:.3g}" in read.text
    for title in ("was missing", "chains settle", "Observed against", "on its own", "Pooled"):
        assert title in read.text


def test_report_of_a_run_without_iterations(tmp_path: Path) -> None:
    data = jm.datasets.load_popmis()[["popular", "sex"]].head(50)
    imp = jm.mice(data, m=1, maxit=0, method="norm", seed=1)
    imp.report(tmp_path / "r.html")
    assert "starting values" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_report_to_a_folder_that_does_not_exist(imp: Any, tmp_path: Path) -> None:
    with pytest.raises(jm.errors.DataError, match="E70"):
        imp.report(tmp_path / "none" / "r.html")


MEASURE = """<!doctype html><body><iframe width="390" height="800" style="border:0"
srcdoc="{page}" onload="var d=this.contentDocument.documentElement;
document.title='width '+d.scrollWidth+' of '+d.clientWidth"></iframe></body>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_report_fits_a_phone(page: Path, tmp_path: Path) -> None:
    outer = tmp_path / "phone.html"
    outer.write_text(
        MEASURE.format(page=html.escape(page.read_text(encoding="utf-8"))), encoding="utf-8"
    )
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<title>width (\d+) of (\d+)</title>", done.stdout)
    assert found, done.stdout[:500]
    assert int(found[1]) <= int(found[2]) <= 390
