"""The documentation holds what it promises: links lead somewhere, reasons are explained, manifests are valid."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.pool.parse import parse_pool
from tests.doc_commands import documents

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for room in ("docs", "charts", "tests", "worker-image") for page in (ROOT / room).rglob("*.md")),
    ]
)

NEVER_SHOWN = {Reason.SCALED, Reason.NO_CHANGE}
"""Reasons of a plan that does what was decided, or has nothing to do: users are shown the decision's reason."""


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The fragments under which GitHub shows the page's headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if not link.startswith(("https://", "http://"))]


def pool_manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every complete CeleryWorkerPool that a page shows."""
    for page in PAGES:
        for document in documents(page):
            if isinstance(document, dict) and document.get("kind") == "CeleryWorkerPool":
                yield f"{page.relative_to(ROOT)}: {document['metadata']['name']}", document


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_relative_link_leads_to_a_file_and_every_fragment_to_a_heading(page: Path) -> None:
    lost = []
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_reason_that_a_user_can_see_is_explained_and_no_other() -> None:
    rows = [line for line in (DOCS / "troubleshooting.md").read_text().splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    every = {reason.value for reason in Reason}
    assert len(every) > 40
    assert explained == every - NEVER_SHOWN


def test_the_index_leads_to_every_page_and_every_decision() -> None:
    index = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    pages = {page for page in DOCS.rglob("*.md") if page.name != "README.md"}
    assert pages - index == set()


def test_decisions_have_a_number_each_and_say_why_what_and_at_what_price() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert len({int(page.name[:4]) for page in pages}) == len(pages)
    wrong = [page.name for page in pages if not {"context", "decision", "consequences"} <= anchors(page)]
    assert wrong == []


def test_every_pool_that_the_documentation_shows_is_a_valid_one() -> None:
    manifests = dict(pool_manifests())
    assert "README.md: reports" in manifests
    for manifest in manifests.values():
        parse_pool(manifest)


def test_the_map_of_the_house_names_only_what_is_there_and_no_room_is_missing() -> None:
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| `")]
    places = {path for row in rows for path in re.findall(r"`([\w./-]+)`", row.split("|")[1])}
    assert {place for place in places if not (ROOT / place).exists()} == set()
    code = ROOT / "operator" / "celeriac"
    rooms = {path.relative_to(ROOT) for path in code.iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert rooms <= {Path(place) for place in places}
