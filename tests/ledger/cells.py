"""The cells of the ledger: Celery's version, pool and acknowledgement, and the CeleryWorkerPool of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

from tests.cluster.images import Image
from tests.ledger.checker import Demand

IMAGE = Path(__file__).with_name("image")
DJANGO_IMAGE = Path(__file__).with_name("django_image")
VERSIONS = ("5.3", "5.7")
DJANGO_VERSIONS = ("5.3", "5.5", "5.6", "5.7")
TODAY_VERSIONS = ("5.3", "5.4", "5.5", "5.6", "5.7")
PYTHONS = ("3.9", "3.11", "3.13", "3.14")  # of the base images that can be made here
POOLS = ("solo", "prefork", "threads", "gevent", "eventlet")
ACKS = ("early", "late")
PREFETCH = 4
CONCURRENCY = 2

Body = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One line of the table. Workers hold `prefetch` messages for each slot; None: as few as the agent lets them.

    `django` is a project whose settings have a namespace, and a visibility timeout that is shorter than its tasks;
    with `python` its image has that Python, and what pip resolves on it today.
    """

    celery: str
    pool: str
    acks: str
    prefetch: int | None = PREFETCH
    agent: bool = True
    django: bool = False
    python: str | None = None

    @property
    def name(self) -> str:
        """As `--cells` selects it."""
        kind = f"-on-{self.python}" if self.python else "-django" if self.django else ""
        name = f"{self.celery}{kind}-{self.pool}-{self.acks}"
        return name if self.prefetch else f"{name}-noprefetch"

    @property
    def image(self) -> Image:
        """The user's image with this version of Celery."""
        if self.python:
            return today_image(self.celery, self.python)
        return django_image(self.celery) if self.django else image(self.celery)

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
        if self.django:
            spec["app"] = "proj"
        if self.pool != "solo":
            spec["concurrency"] = CONCURRENCY
        if self.prefetch:
            spec["worker"] = {"prefetchMultiplier": self.prefetch}
        # Without the agent nothing but the grace of a pod protects a task that was acknowledged early.
        return spec if self.agent else spec | {"agent": "disabled", "drain": {"timeoutSeconds": 1}}

    def environment(self) -> Mapping[str, str]:
        """Of its workers."""
        return {"LEDGER_ACKS": self.acks} | ({"LEDGER_VISIBILITY": "5"} if self.django else {})


def image(celery: str) -> Image:
    """The image of the ledger's application with this version of Celery."""
    return Image(f"celeriac-ledger:{celery}", IMAGE / "Dockerfile", IMAGE, {"CELERY": celery})


def django_image(celery: str, *, base: str = "python:3.11-slim", tag: str = "", **arguments: str) -> Image:
    """The image of the Django project with this version of Celery."""
    return Image(
        tag or f"celeriac-ledger-django:{celery}",
        DJANGO_IMAGE / "Dockerfile",
        DJANGO_IMAGE.parent,
        {"CELERY": celery, "BASE": base, **arguments},
    )


def today_image(celery: str, python: str) -> Image:
    """The same with what pip resolves on that Python now: it is made anew in each week."""
    week = "-".join(map(str, date.today().isocalendar()[:2]))
    # celery[redis] before 5.5 asks for a redis-py that kombu 5.7 refuses: there plain Celery does not start either.
    packages = f"celery=={celery}.* kombu[redis] django packaging"
    return django_image(
        celery,
        base=f"python:{python}-slim",
        tag=f"celeriac-ledger-today:{celery}-{python}",
        PACKAGES=packages,
        RESOLVED=week,
    )


ODD_IMAGE = Image("celeriac-ledger:odd", Path(__file__).with_name("odd_image") / "Dockerfile")
"""A Django project in an image that is unusual in every respect."""
ALL = (
    *(Cell(*each) for each in product(VERSIONS, POOLS, ACKS)),
    *(
        Cell(celery, pool, acks, prefetch=None)
        for celery, acks in (("5.3", "late"), ("5.7", "early"))
        for pool in POOLS
    ),
    *(
        Cell(celery, pool, acks, prefetch=None, django=True)
        for celery in DJANGO_VERSIONS
        for pool, acks in (("prefork", "late"), ("threads", "early"))
    ),
)
TODAY = tuple(
    Cell(celery, ("prefork", "threads")[(one + other) % 2], "late", prefetch=None, django=True, python=python)
    for (one, celery), (other, python) in product(enumerate(TODAY_VERSIONS), enumerate(PYTHONS))
    if (celery, python) != ("5.7", "3.9")  # for which there is no Celery 5.7
)
"""What users get who build an image now: each minor version on each Python, in a short run."""
TODAY_TASKS = 60


def select(patterns: Iterable[str], among: Sequence[Cell] = ALL) -> list[Cell]:
    """The cells that match any of the patterns (`5.7-*`, `prefork`); raises ValueError for one that selects none."""
    chosen = set()
    for pattern in patterns:
        matching = {cell for cell in among if fnmatch(cell.name, f"*{pattern}*")}
        if not matching:
            raise ValueError(f"no cell matches {pattern!r}; there are {', '.join(cell.name for cell in among)}")
        chosen |= matching
    return [cell for cell in among if cell in chosen] if chosen else list(among)
