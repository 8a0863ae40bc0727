"""What the API server says of Pods and Nodes; whatever it does not say clearly proves nothing."""

from typing import Any, cast

import pytest

from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, Forbidden, NotFound, Unavailable
from celeriac.cluster.paths import Resource
from celeriac.recovery.gone import Answers, NodeQuestion, PodQuestion, Question
from celeriac.recovery.inquiry import MOST, OUT_OF_SERVICE, ask

pytestmark = pytest.mark.unit

POD, NODE = PodQuestion("shop", "ml-a", "a"), NodeQuestion("n1")


class Cluster:
    """Answers by name: a body, or the error."""

    def __init__(self, **answers: Any) -> None:
        self._answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.asked = 0

    async def read(self, resource: Resource, namespace: str | None, name: str) -> Any:
        self.asked += 1
        answer = self._answers.get(name, NotFound(404, "NotFound", "it does not exist"))
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def read_node(self, name: str) -> Any:
        return await self.read(Resource("v1", "nodes"), None, name)


async def answers(cluster: Cluster, *questions: Question) -> Answers:
    return await ask(cast(Api, cluster), questions)  # reading is all that is asked of it here


async def test_what_does_not_exist_is_gone() -> None:
    assert await answers(Cluster(), POD, NODE) == {POD: True, NODE: True}


async def test_of_more_questions_than_a_look_may_ask_each_has_its_turn() -> None:
    """A registry may name very many."""
    cluster, many = Cluster(), [PodQuestion("shop", f"ml-{number}", "a") for number in range(3 * MOST // 2)]
    asked = await answers(cluster, *many)
    assert (cluster.asked, len(asked)) == (MOST, MOST)
    for _ in range(30):
        asked = {**asked, **await answers(cluster, *many)}
    assert asked.keys() == set(many)


async def test_an_answer_that_nobody_foresaw_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Sick(Cluster):
        async def read(self, resource: Resource, namespace: str | None, name: str) -> Any:
            if name == "ml-a":
                raise ValueError("a surprise")
            return await super().read(resource, namespace, name)

    assert await answers(Sick(), POD, NODE) == {NODE: True}
    assert "cannot be understood" in caplog.text


async def test_a_pod_of_that_name_is_another_one_by_its_uid() -> None:
    assert await answers(Cluster(ml_a={"metadata": {"uid": "a"}}), POD) == {POD: False}
    assert await answers(Cluster(ml_a={"metadata": {"uid": "b"}}), POD) == {POD: True}


async def test_a_node_is_off_where_somebody_says_so() -> None:
    taints = [{"key": "spot"}, {"key": OUT_OF_SERVICE}]
    assert await answers(Cluster(n1={"spec": {}}), NODE) == {NODE: False}
    assert await answers(Cluster(n1={"spec": {"taints": taints[:1]}}), NODE) == {NODE: False}
    assert await answers(Cluster(n1={"spec": {"taints": taints}}), NODE) == {NODE: True}


@pytest.mark.parametrize("answer", [{}, {"metadata": None}, [], None, {"spec": {"taints": [{}]}}, {"spec": None}])
async def test_an_answer_without_sense_proves_nothing_and_spoils_no_other(answer: Any) -> None:
    assert await answers(Cluster(ml_a=answer, n1=answer), POD, NODE, PodQuestion("shop", "ml-b", "b")) == {
        PodQuestion("shop", "ml-b", "b"): True
    }


async def test_who_may_not_read_nodes_is_answered_about_pods_all_the_same() -> None:
    assert await answers(Cluster(n1=Forbidden(403, "Forbidden", "no")), NODE, POD) == {POD: True}


async def test_an_api_server_that_is_away_is_not_asked_about_each_of_a_thousand_workers() -> None:
    away = {f"ml_{number}": Unavailable(0, "Timeout", "no answer") for number in range(1000)}
    cluster = Cluster(**away)
    assert await answers(cluster, *(PodQuestion("shop", f"ml-{number}", "") for number in range(1000))) == {}
    assert cluster.asked < 10
