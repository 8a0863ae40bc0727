"""Asks the API server what its watches leave open of a silent process."""

import asyncio
import logging
import random
from collections.abc import Collection
from typing import Any, Final

from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, NotFound, Unavailable
from celeriac.cluster.paths import PODS
from celeriac.recovery.gone import Answers, PodQuestion, Question

log = logging.getLogger(__name__)

OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
AT_ONCE: Final = 8
"""Requests at the same time."""
MOST: Final = 500
"""Questions of one look: whoever writes into a registry decides how many there are. Others come with later looks."""


async def ask(api: Api, questions: Collection[Question]) -> Answers:
    """The answers that came. A question without one, or with one that cannot be understood, is not among them.

    Where the API server is not there, the other questions are not asked. Of very many MOST are asked.
    """
    answers: dict[Question, bool] = {}
    left = random.sample(list(questions), min(MOST, len(questions)))

    async def ask_some() -> None:
        while left:
            question = left.pop()
            try:
                answers[question] = await _ask_one(api, question)
            except Unavailable:
                left.clear()
            except ApiError as error:
                log.debug("asked about %s: %s", question, error)
            except Exception:
                log.exception("the API server's answer about %s cannot be understood", question)

    await asyncio.gather(*(ask_some() for _ in range(min(AT_ONCE, len(left)))))
    return answers


async def _ask_one(api: Api, question: Question) -> bool:
    try:
        if isinstance(question, PodQuestion):
            return is_another(await api.read(PODS, question.namespace, question.name), question.uid)
        return is_out_of_service(await api.read_node(question.name))
    except NotFound:
        return True


def is_another(pod: dict[str, Any], uid: str) -> bool:
    """Whether the Pod that bears the name now is another one. Raises KeyError or TypeError for what is no Pod."""
    return bool(pod["metadata"]["uid"] != uid)


def is_out_of_service(node: dict[str, Any]) -> bool:
    """Whether somebody has declared by a taint that the node is off. Raises as `is_another` does."""
    return any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ())
