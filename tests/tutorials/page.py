"""What the page of every case study must be."""

from html.parser import HTMLParser
from pathlib import Path


class Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(page: str, figures: int) -> None:
    """Well formed, with nothing fetched from outside and words for every figure."""
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "link", "iframe"})
    pictures = [attrs for tag, attrs in reader.tags if tag == "img"]
    assert len(pictures) == figures
    for attrs in pictures:
        assert (attrs["src"] or "").startswith("data:image/svg+xml;base64,")
        assert len(attrs["alt"] or "") > 30
    assert not any({"href", "srcset"} & set(attrs) for _, attrs in reader.tags)
    assert "nan" not in page.lower().split("<img")[0]


def check_own(path: Path, table: str, figures: int, rows: int) -> str:
    """Return the page written on a file of the user's; its table has that many rows."""
    page = path.read_text(encoding="utf-8")
    check_page(page, figures)
    assert max(map(len, table.splitlines())) <= 100
    assert len(table.splitlines()) == 3 + rows
    return page
