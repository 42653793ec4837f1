"""What the pages say must be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNTRACKED = {".venv", "node_modules", ".local"}
PAGES = [page for page in ROOT.rglob("*.md") if not UNTRACKED & set(page.relative_to(ROOT).parts)]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings of a page as the fragments that lead to them."""
    titles = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for path, fragment in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} is not there"
        assert not fragment or fragment in anchors(target), f"{path} has no heading #{fragment}"
