"""Who else writes the replicas: an autoscaler is told of at once, a person's kubectl scale is not."""

from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.records import DeploymentRecord
from celeriac.watching.rivals import AUTOSCALER, RIVAL_SECONDS, Rivals

pytestmark = pytest.mark.unit

KEY = PoolKey("shop", "ml")


class Seen:
    """Rivals in time that only a test moves, fed with Deployments as the API server gives them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rivals = Rivals(lambda: self.now)

    def written(self, manager: str, second: int, *, operation: str = "Update") -> None:
        entry: dict[str, Any] = {
            "manager": manager,
            "operation": operation,
            "subresource": "scale",
            "time": f"2026-01-01T00:00:{second:02}Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }
        body = {
            "metadata": {"namespace": "shop", "name": "ml", "uid": "u", "managedFields": [entry]},
            "spec": {"replicas": 3},
        }
        self.rivals.note(DeploymentRecord.from_body(body))

    @property
    def rival(self) -> str | None:
        return self.rivals.of(KEY)


def test_the_operator_is_nobodys_rival() -> None:
    seen = Seen()
    for second in range(5):
        seen.written("celeriac-scale", second)
        seen.written("celeriac", second, operation="Apply")
    assert seen.rival is None


def test_an_autoscaler_is_named_at_once_and_as_long_as_it_was_the_last_to_write() -> None:
    seen = Seen()
    seen.written(AUTOSCALER, 1)
    assert seen.rival == AUTOSCALER
    seen.now += 10 * RIVAL_SECONDS
    assert seen.rival == AUTOSCALER
    seen.written("celeriac-scale", 2)
    assert seen.rival is None


def test_an_autoscaler_that_the_operator_overrules_is_still_named() -> None:
    seen = Seen()
    seen.written(AUTOSCALER, 1)
    seen.written("celeriac-scale", 2)
    assert seen.rival == AUTOSCALER
    seen.now += RIVAL_SECONDS
    assert seen.rival is None


def test_a_person_who_scales_once_is_no_rival_and_a_script_that_does_it_again_is() -> None:
    seen = Seen()
    seen.written("kubectl", 1)
    seen.written("kubectl", 1)
    seen.written("celeriac-scale", 2)
    assert seen.rival is None
    seen.written("kubectl", 3)
    assert seen.rival == "kubectl"


def test_who_wrote_twice_in_a_long_time_is_forgotten() -> None:
    seen = Seen()
    seen.written("kubectl", 1)
    seen.now += RIVAL_SECONDS
    seen.written("celeriac-scale", 2)
    seen.written("kubectl", 3)
    assert seen.rival is None


def test_a_deployment_that_is_made_anew_begins_anew() -> None:
    seen = Seen()
    seen.written(AUTOSCALER, 1)
    seen.rivals.forget(KEY)
    assert seen.rival is None
