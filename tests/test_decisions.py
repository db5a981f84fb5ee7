"""Decisions are numbered without gaps, and both lists of them are whole."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted((DOCS / "decisions").glob("[0-9]*.md"))


def test_they_are_numbered_from_one():
    assert [int(page.name.partition("-")[0]) for page in PAGES] == [*range(1, len(PAGES) + 1)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_says_when_what_why_and_what_lost(page):
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {int(page.name[:4])}\. .+\n\n\d{{4}}-\d\d-\d\d, ", text)
    assert re.findall("^## (.+)$", text, re.MULTILINE) == ["Decision", "Numbers", "What lost"]


@pytest.mark.parametrize(("document", "folder"), [("decisions/index.md", ""), ("architecture.md", "decisions/")])
def test_every_list_names_them_all(document, folder):
    text = (DOCS / document).read_text(encoding="utf-8")
    assert re.findall(rf"\({folder}(\d[^)]+\.md)\)", text) == [page.name for page in PAGES]
