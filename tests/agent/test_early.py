"""What the agent loads, and when: a package that patches Celery while its pool is made finds it as in plain Celery."""

import json
from typing import Any

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import full, plain
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent

PACKAGES = {"celery", "kombu", "billiard", "redis", "amqp", "vine"}
CELLS = [
    pytest.param(version, base, id=f"{version}-{base}", marks=() if (version, base) == ("5.7", "solo") else full)
    for version in ("5.3", "5.6", "5.6-today", "5.7")
    for base in ("solo", "prefork", "thread")
]


@pytest.mark.parametrize(("version", "base"), CELLS)
def test_nothing_of_celery_is_loaded_before_celery_loads_it(rig: Rig, version: str, base: str) -> None:
    file = rig.place.directory / "loaded"
    variables = {"CELERY_CUSTOM_WORKER_POOL": "early_pool:Pool", "BASE_POOL": base, "LOADED_FILE": str(file)}
    spec = Spec(version, "custom", slots=1, variables=variables)
    loaded: list[set[Any]] = []
    for one in (plain(spec), spec):
        [worker] = rig.start(one)
        loaded.append({name for name in json.loads(file.read_text()) if name.split(".")[0] in PACKAGES})
        worker.terminate()
    assert sorted(loaded[1] - loaded[0]) == []
