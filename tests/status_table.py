"""The table of docs/status.md, made from the situations that an integration test shows on a real API server.

`make generate` writes it between the markers; a unit test holds it to the situations.
"""

import re
from pathlib import Path

from tests.integration.status_rows import ABSENT, ROWS, Row

PAGE = Path(__file__).parents[1] / "docs" / "status.md"
TABLE = re.compile(r"(<!-- situations, by make generate -->\n).*?(<!-- end -->\n)", re.DOTALL)
COLUMNS = ("Ready", "Reconciling", "Stalled", "BrokerReachable")


def page_with_table(page: str) -> str:
    """The page with the table as the situations are now."""
    return TABLE.sub(lambda found: f"{found[1]}{table()}{found[2]}", page)


def table() -> str:
    """One row for each situation."""
    head = ("situation", *COLUMNS, "kstatus")
    rows = [head, ("---",) * len(head), *(cells(row) for row in ROWS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cells(row: Row) -> tuple[str, ...]:
    """Status and reason of each condition; a reason that is always the same for a status is left out."""
    told = [text for type_ in COLUMNS for text in [row.conditions[type_]]]
    limit = f"; ScalingLimited: {row.limited}" if row.limited else ""
    return (f"{row.situation}{limit}", *(short(text) for text in told), row.verdict)


def short(text: str) -> str:
    """`True Ready` as it is; what says nothing more than its status, as that alone."""
    if text == ABSENT:
        return ""
    status, reason = text.split()
    return status if reason in ("NotStalled", "Stable", "Stalled", "Readable") else f"{status} `{reason}`"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text()))
