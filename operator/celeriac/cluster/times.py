"""Times as the API writes them."""

from datetime import datetime


def timestamp(moment: datetime) -> str:
    """A metav1.Time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """A metav1.Time, back."""
    return datetime.fromisoformat(text)
