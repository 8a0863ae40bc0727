"""Who is told, in tests."""

from dataclasses import dataclass, field

from celeriac.api.notices import Notice


@dataclass
class Listener:
    """Keeps what it is told."""

    told: list[Notice] = field(default_factory=list)

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)
