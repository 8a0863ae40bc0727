"""The import contracts refuse what they are there to refuse: forbidden imports are planted in a copy of the program."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]

PLANTED = {
    "recovery/reaper.py": "import kopf, redis",
    "watching/store.py": "import kubernetes",
    "reporting/status.py": "import redis.exceptions",
    "autoscaling/pool_scaler.py": "import aiohttp",
    "workers/worker.py": "import prometheus_client",
    "scaling/decide.py": "import asyncio",
    "resources/pod.py": "from celeriac.cluster.client import Api",
    "autoscaling/tick.py": "from celeriac.reporting import status",
    "cluster/client.py": "from celeriac.brokers.protocol import Broker",
    "brokers/redis/client.py": "import aiodns",
    "brokers/connect.py": "from celeriac.cluster.errors import ApiError",
    "api/keys.py": "from celeriac.pool.model import WorkerPool",
    "telemetry/logs.py": "from celeriac import operator",
}


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy in which all of it is planted, in one word a line."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "operator", copy / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, line in PLANTED.items():
        file = copy / "operator" / "celeriac" / name
        file.write_text(f"{file.read_text()}\n{line}\n")
    lint = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "operator")},
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 1, lint.stdout + lint.stderr
    return re.sub(r"\s+", " ", lint.stdout)


def test_the_house_as_it_is_keeps_its_contracts() -> None:
    lint = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert lint.returncode == 0, lint.stdout


@pytest.mark.parametrize("file", PLANTED)
def test_a_forbidden_import_is_refused(verdict: str, file: str) -> None:
    importer = "celeriac." + file.removesuffix(".py").replace("/", ".")
    imported = re.findall(r"(?:import|from) ([\w.]+)(?:, (\w+))?", PLANTED[file])[0]
    for name in filter(None, imported):
        target = name if name.startswith("celeriac.") else name.split(".")[0]
        assert re.search(rf"{re.escape(importer)} -> {re.escape(target)}\b", verdict), (file, name)
