"""The demo's pools and its load: the samples of worker-image with numbers that show something within two minutes."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SAMPLES = Path(__file__).parents[2] / "worker-image" / "samples"
IMAGE = "celeriac-demo:dev"

# Down after 5 s of less demand, to zero after 10 s of none; and pods so small that a dozen fit on two cores.
FAST: Mapping[str, Any] = {
    "image": IMAGE,
    "scaling": {
        "minReplicas": 0,
        "scaleToZeroAfterSeconds": 10,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
    },
    "drain": {"timeoutSeconds": 60},
    "template": {"spec": {"resources": {"requests": {"cpu": "10m"}}}},
}


@dataclass(frozen=True)
class DemoPool:
    """One pool of the demo. `tasks_per_slot` is its target; it must reach `peak` replicas at least, on as many pods."""

    name: str
    queue: str
    tasks_per_slot: int
    concurrency: int | None
    peak: int

    def manifest(self) -> dict[str, Any]:
        """The sample of this name with the demo's numbers."""
        sample = next(each for each in samples() if each["metadata"]["name"] == self.name)
        spec = merged(sample["spec"], FAST)
        spec["scaling"] |= {"maxReplicas": 10, "target": {"tasksPerSlot": self.tasks_per_slot}}
        if self.concurrency is not None:
            spec["concurrency"] = self.concurrency
        spec.get("worker", {}).pop("timeLimitSeconds", None)
        return {**sample, "spec": spec}


POOLS = (
    DemoPool("ml", "ml_service", tasks_per_slot=4, concurrency=None, peak=4),
    DemoPool("batch", "batch", tasks_per_slot=4, concurrency=2, peak=4),
    DemoPool("email", "email_service", tasks_per_slot=6, concurrency=4, peak=1),
    DemoPool("default", "celery", tasks_per_slot=4, concurrency=2, peak=1),
)


@dataclass(frozen=True)
class Load:
    """One call of a program of the demo image, and what it shows."""

    story: str
    arguments: str
    program: str = "celery_app.send"


VISIT = Load(
    "20 pictures over HTTP, 6 s of work each, for the solo pool",
    "--count 20 --seconds 6 --cpu-share 0.05 --wait",
    "celery_app.visit",
)
LOADS = (
    Load(
        "a chord of 32 parts of 6 s for the prefork pool, its callback on the default queue",
        "--queue batch --chord --count 32 --seconds 6 --cpu-share 0.05",
    ),
    Load("40 mails that can wait", "--queue email_service --count 40 --seconds 2 --priority 9"),
    Load(
        "6 urgent mails, refused once by their server",
        "--queue email_service --count 6 --seconds 0.5 --priority 0 --failures 1",
    ),
    Load("5 reminders, due in 20 s", "--queue celery --count 5 --seconds 0.5 --countdown 20"),
)


def samples() -> Iterator[dict[str, Any]]:
    """The CeleryWorkerPools of worker-image/samples."""
    for path in sorted(SAMPLES.glob("*.yaml")):
        yield from (each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "CeleryWorkerPool")


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A fresh dict: `base` with the leaves of `patch` (a JSON merge patch without nulls)."""
    result = copy.deepcopy(dict(base))
    for key, value in patch.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result
