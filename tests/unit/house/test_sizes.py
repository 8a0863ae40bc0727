"""No room so large that nobody sees through it: what is larger has a sentence in docs/decisions that says why."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
MODULES = sorted(
    file for folder in ("operator/celeriac", "worker-image/agent") for file in (ROOT / folder).rglob("*.py")
)
DECIDED = "\n".join(page.read_text() for page in (ROOT / "docs" / "decisions").glob("*.md"))

LONGEST_MODULE = 300
LONGEST_CLASS = 200


def too_large(file: Path) -> Iterator[str]:
    """The module by its path, and its classes by their names, where they have too many lines."""
    text = file.read_text()
    if text.count("\n") > LONGEST_MODULE:
        yield str(file.relative_to(ROOT))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_CLASS:
            yield node.name


def test_every_module_and_class_is_seen_through_at_a_glance_or_says_why_not() -> None:
    assert len(MODULES) > 150
    assert [name for file in MODULES for name in too_large(file) if f"`{name}`" not in DECIDED] == []
