"""The reference of docs/api.md is that of the CRD."""

import pytest

from tests.api_tables import PAGE, PARTS, TABLE, page_with_tables, table

pytestmark = pytest.mark.unit


def test_the_tables_of_the_reference_are_those_of_the_crd() -> None:
    page = PAGE.read_text()
    assert {found[1] for found in TABLE.findall(page)} == set(PARTS)
    assert page_with_tables(page) == page, "run: make generate"


@pytest.mark.parametrize("part", PARTS)
def test_every_field_says_what_it_means(part: str) -> None:
    rows = [row.strip("| ").split(" | ") for row in table(part).splitlines()[2:]]
    assert len(rows) > 15
    assert [row[0] for row in rows if len(row) < 4 and not row[-1].endswith(".")] == []


def test_a_table_that_is_written_twice_stays_as_it_is() -> None:
    assert page_with_tables(page_with_tables(PAGE.read_text())) == page_with_tables(PAGE.read_text())
