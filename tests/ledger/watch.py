"""A witness that also enters into the book when a pool was scaled, and which of its Pods were marked, deleted, gone."""

from pathlib import Path
from typing import Any

from tests.e2e.witness import Witness
from tests.ledger.book import Book
from tests.ledger.lines import Event

DRAIN = "celeriac.dev/drain"

Body = dict[str, Any]


class Watch(Witness):
    """Of one namespace with one pool. A watch that begins again tells nothing twice."""

    def __init__(self, kubeconfig: Path, namespace: str, book: Book) -> None:
        super().__init__(kubeconfig, namespace)
        self._book = book
        self._replicas: dict[str, int] = {}
        self._told: set[tuple[Event, str]] = set()
        self._deaths: dict[str, int] = {}

    def _see_deployment(self, deployment: Body) -> None:
        super()._see_deployment(deployment)
        name, after = deployment["metadata"]["name"], deployment["spec"]["replicas"]
        before = self._replicas.get(name, 0)
        self._replicas[name] = after
        if after != before:
            self._book.note(Event.SCALED, before=before, after=after)

    def _see_pod(self, pod: Body) -> None:
        super()._see_pod(pod)
        metadata, name = pod["metadata"], pod["metadata"]["name"]
        marked = DRAIN in (metadata.get("annotations") or {})
        if marked != ((Event.MARKED, name) in self._told):
            self._told ^= {(Event.MARKED, name)}
            self._book.note(Event.MARKED if marked else Event.UNMARKED, pod=name)
        if "deletionTimestamp" in metadata:
            self._tell_once(Event.DELETED, name)
        else:
            self._tell_deaths(pod)
        if _ended(pod):
            self._tell_once(Event.GONE, name)

    def _tell_deaths(self, pod: Body) -> None:
        """A container that has ended is restarted in its Pod, which counts that."""
        name = pod["metadata"]["name"]
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            deaths = status["restartCount"] + ("terminated" in status["state"])
            if deaths > self._deaths.get(name, 0):
                self._deaths[name] = deaths
                self._book.note(Event.DIED, pod=name)

    def _tell_once(self, event: Event, pod: str) -> None:
        if (event, pod) not in self._told:
            self._told.add((event, pod))
            self._book.note(event, pod=pod)


def _ended(pod: Body) -> bool:
    """Whether its containers have run and ended for good."""
    status = pod.get("status") or {}
    states = [each["state"] for each in status.get("containerStatuses") or ()]
    return status.get("phase") in ("Succeeded", "Failed") or (
        "deletionTimestamp" in pod["metadata"] and bool(states) and all("terminated" in state for state in states)
    )
