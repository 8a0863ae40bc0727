"""The figures of docs/sizing.md are those of docs/benchmarks.md."""

import re

import pytest

from tests.doc_commands import ROOT

pytestmark = pytest.mark.unit

POOLS = ("1", "100", "1,000", "5,000")


def rows(page: str) -> list[list[str]]:
    """The cells of each row of each table."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def measured(figure: str) -> list[str]:
    """What a figure of the benchmarks is now, by the number of pools."""
    table = rows("benchmarks.md")
    (heads,) = (row for row in table if row[0] == "figure")
    (row,) = (row for row in table if row[0] == figure)
    return [re.sub(r"[*]|met|missed", "", row[heads.index(f"{pools} now")]).strip() for pools in POOLS]


def said(column: str) -> list[str]:
    """What the page says in a column of the table that has it."""
    table = rows("sizing.md")
    start = next(index for index, row in enumerate(table) if column in row)
    place = table[start].index(column)
    return [row[place].removesuffix(" MiB") for row in table[start + 2 : start + 2 + len(POOLS)]]


@pytest.mark.parametrize(
    ("column", "figure"),
    [
        ("commands a second, those in scripts too", "Redis commands a second, those in scripts too"),
        ("memory at rest", "memory (RSS), MiB"),
        ("at most", "memory at most, MiB"),
    ],
)
def test_a_column_is_what_was_measured(column: str, figure: str) -> None:
    assert said(column) == measured(figure)
