"""What is told beside a pool that was converted: what it does not carry over, and what wants a look."""

from dataclasses import dataclass, field
from typing import Any, Final

Body = dict[str, Any]

HIDDEN: Final = "(hidden)"


@dataclass(slots=True)
class Remarks:
    """Sentences in the order in which they were found, each with the place that it is about; none comes twice."""

    said: list[str] = field(default_factory=list)

    def say(self, place: str, sentence: str) -> None:
        """Tell of one place."""
        line = f"{place}: {sentence}"
        if line not in self.said:
            self.said.append(line)


def without_nothing(body: Body) -> Body:
    """The entries that say something: not None, and no empty object or list."""
    return {name: value for name, value in body.items() if value is not None and value not in ({}, [])}
