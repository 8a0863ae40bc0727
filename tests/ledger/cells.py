"""The cells of the ledger: Celery's version, pool and acknowledgement, and the CeleryWorkerPool of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

from tests.cluster.images import Image
from tests.ledger.checker import Demand

IMAGE = Path(__file__).with_name("image")
VERSIONS = ("5.3", "5.7")
POOLS = ("solo", "prefork", "threads", "gevent", "eventlet")
ACKS = ("early", "late")
PREFETCH = 4
CONCURRENCY = 2

Body = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One line of the table. Workers hold `prefetch` messages for each slot; None: as few as the agent lets them."""

    celery: str
    pool: str
    acks: str
    prefetch: int | None = PREFETCH
    agent: bool = True

    @property
    def name(self) -> str:
        """As `--cells` selects it."""
        name = f"{self.celery}-{self.pool}-{self.acks}"
        return name if self.prefetch else f"{name}-noprefetch"

    @property
    def image(self) -> Image:
        """The user's image with this version of Celery."""
        return image(self.celery)

    @property
    def demand(self) -> Demand:
        """What a full run must have seen."""
        return Demand(prefetches=self.pool != "solo" and self.prefetch is not None)

    def spec(self) -> Body:
        """Of its CeleryWorkerPool: quick to scale up in small steps, and to scale down while tasks run."""
        steps = {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 2}]}
        spec: Body = {
            "pool": self.pool,
            "scaling": {
                "maxReplicas": 6 if self.pool == "solo" else 4,
                "target": {"tasksPerSlot": 2},
                "scaleToZeroAfterSeconds": 2,
                "behavior": {"scaleUp": steps, "scaleDown": {"stabilizationWindowSeconds": 1}},
            },
            "drain": {"timeoutSeconds": 120},
        }
        if self.pool != "solo":
            spec["concurrency"] = CONCURRENCY
        if self.prefetch:
            spec["worker"] = {"prefetchMultiplier": self.prefetch}
        # Without the agent nothing but the grace of a pod protects a task that was acknowledged early.
        return spec if self.agent else spec | {"agent": "disabled", "drain": {"timeoutSeconds": 1}}

    def environment(self) -> Mapping[str, str]:
        """Of its workers."""
        return {"LEDGER_ACKS": self.acks}


def image(celery: str) -> Image:
    """The image of the ledger's application with this version of Celery."""
    return Image(f"celeriac-ledger:{celery}", IMAGE / "Dockerfile", IMAGE, {"CELERY": celery})


ODD_IMAGE = Image("celeriac-ledger:odd", Path(__file__).with_name("odd_image") / "Dockerfile")
"""A Django project in an image that is unusual in every respect."""
ALL = (
    *(Cell(*each) for each in product(VERSIONS, POOLS, ACKS)),
    *(
        Cell(celery, pool, acks, prefetch=None)
        for celery, acks in (("5.3", "late"), ("5.7", "early"))
        for pool in POOLS
    ),
)


def select(patterns: Iterable[str]) -> list[Cell]:
    """The cells that match any of the patterns (`5.7-*`, `prefork`); raises ValueError for one that selects none."""
    chosen = set()
    for pattern in patterns:
        matching = {cell for cell in ALL if fnmatch(cell.name, f"*{pattern}*")}
        if not matching:
            raise ValueError(f"no cell matches {pattern!r}; there are {', '.join(cell.name for cell in ALL)}")
        chosen |= matching
    return [cell for cell in ALL if cell in chosen] if chosen else list(ALL)
