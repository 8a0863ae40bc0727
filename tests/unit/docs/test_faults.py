"""docs/faults.md names stories that are there, and every story of `make faults`."""

import ast
from pathlib import Path

import pytest

from tests.faults.table import ROOT, Row, rounded, rows

pytestmark = pytest.mark.unit

TESTS = ROOT / "tests"


def stories(path: Path) -> set[str]:
    """The tests of a module, as the table names them."""
    functions = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {f"{path.relative_to(TESTS)}::{each.name}" for each in functions if each.name.startswith("test_")}


def test_each_story_that_the_table_names_is_there() -> None:
    named = [row.story for row in rows()]
    assert len(named) > 10
    assert len(set(named)) == len(named)
    modules = {TESTS / name.partition("::")[0] for name in named}
    assert set(named) <= set().union(*(stories(path) for path in modules))


def test_each_story_of_make_faults_is_in_the_table() -> None:
    every: set[str] = set().union(*(stories(path) for path in (TESTS / "faults").glob("test_*.py")))
    assert every <= {row.story for row in rows()}


def test_a_row_is_read_as_it_is_written() -> None:
    for row in rows():
        assert row.fault
        assert row.invariant
        assert str(Row(*row)).count("|") == 5


@pytest.mark.parametrize(
    ("value", "text"), [(0.4321, "0.43"), (7, "7"), (7.26, "7.3"), (128.4, "128"), (0.0, "0"), (0.0026, "0.0026")]
)
def test_figures_have_two_digits(value: float, text: str) -> None:
    assert rounded(value) == text
