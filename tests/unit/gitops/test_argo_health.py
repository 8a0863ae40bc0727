"""What Argo CD makes of pools, by its own form of tests (health_test.yaml)."""

from typing import Any

import pytest
import yaml

from tests.argo import FOLDER, health

pytestmark = pytest.mark.unit

TESTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "health_test.yaml").read_text())["tests"]


@pytest.mark.parametrize("test", TESTS, ids=[each["inputPath"] for each in TESTS])
def test_the_health_of_a_pool_is_that_of_its_conditions(test: dict[str, Any]) -> None:
    body = yaml.safe_load((FOLDER / test["inputPath"]).read_text())
    assert health(body) == test["healthStatus"]


def test_each_file_has_its_test_and_each_health_is_there() -> None:
    assert {f"testdata/{file.name}" for file in (FOLDER / "testdata").iterdir()} == {
        each["inputPath"] for each in TESTS
    }
    assert {each["healthStatus"]["status"] for each in TESTS} == {"Healthy", "Progressing", "Degraded"}
