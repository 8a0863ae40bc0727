"""A lean client of the API server: requests by several threads at once, and a watch that notes when it saw what."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import urllib3

from tests.cluster.control_plane import ControlPlane

CLIENTS = 8
"""Requests under way at once where many objects are made: more of them make two cores no faster."""
APPS = "/apis/apps/v1"
CELERIAC = "/apis/celeriac.dev/v1alpha1"
MERGE_PATCH = "application/merge-patch+json"

Body = dict[str, Any]
T = TypeVar("T")
V = TypeVar("V")


class Client:
    """The administrator's; safe in threads."""

    def __init__(self, control_plane: ControlPlane) -> None:
        pki = control_plane.pki
        self._url = control_plane.url
        self._pool = urllib3.PoolManager(
            maxsize=2 * CLIENTS,
            ca_certs=str(pki.ca),
            cert_file=str(pki.certificate("admin")),
            key_file=str(pki.key("admin")),
        )

    def post(self, path: str, body: Body) -> Body:
        """Create an object."""
        return self._request("POST", path, body, "application/json")

    def patch(self, path: str, body: Body) -> Body:
        """A JSON merge patch (RFC 7386)."""
        return self._request("PATCH", path, body, MERGE_PATCH)

    def get(self, path: str) -> Body:
        """An object, or a list of them."""
        return self._request("GET", path)

    def stream(self, path: str) -> Iterable[bytes]:
        """The lines of a watch, each as soon as it is there; ends when the server ends it."""
        response = self._pool.request("GET", self._url + path, preload_content=False, timeout=None)
        rest = b""
        for chunk in response.stream(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines

    def scale(self, name: str, replicas: int, namespace: str) -> None:
        """A bare patch of /scale, as `kubectl scale` does it."""
        path = f"{APPS}/namespaces/{namespace}/deployments/{name}/scale"
        self.patch(path, {"spec": {"replicas": replicas}})

    def _request(self, method: str, path: str, body: Body | None = None, content: str | None = None) -> Body:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content} if content else {}
        response = self._pool.request(method, self._url + path, body=data, headers=headers, timeout=60.0)
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {response.data[:500]!r}")
        answer: Body = response.json()
        return answer


def at_once(function: Callable[[T], object], items: Iterable[T]) -> None:
    """Call the function with each item, by several clients at once."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(function, items):
            pass


class Watch(Generic[V]):
    """Values of all objects of a kind by name, with the moment at which each was seen (`time.perf_counter`)."""

    def __init__(self, client: Client, path: str, value: Callable[[Body], V]) -> None:
        self._client, self._path, self._value = client, path, value
        self._seen: list[tuple[float, str, V]] = []
        self._now: dict[str, V] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def mark(self) -> int:
        """What `first` is to look at from now on."""
        with self._changed:
            return len(self._seen)

    def now(self, name: str) -> V:
        """The last value of an object that is there."""
        with self._changed:
            return self._now[name]

    def first(self, mark: int, names: Iterable[str], holds: Callable[[V], bool], seconds: float) -> Mapping[str, float]:
        """When each of the objects was first seen, after the mark, with a value that holds; others are missing."""
        missing, found = set(names), dict[str, float]()
        deadline = time.monotonic() + seconds
        while missing and (left := deadline - time.monotonic()) > 0:
            with self._changed:
                if mark == len(self._seen):
                    self._changed.wait(left)
                fresh, mark = self._seen[mark:], len(self._seen)
            for moment, name, value in fresh:
                if name in missing and holds(value):
                    missing.discard(name)
                    found[name] = moment
        return found

    def settled(self, names: Iterable[str], holds: Callable[[V], bool], seconds: float) -> bool:
        """Wait until all of the objects have a value that holds; False where they have not in time."""
        names = list(names)
        with self._changed:
            return self._changed.wait_for(
                lambda: all(name in self._now and holds(self._now[name]) for name in names), seconds
            )

    def _follow(self) -> None:
        """For the life of the process; the server's end is the end."""
        version = ""
        while True:
            try:
                version = version or self._list()
                version = self._events(version)
            except (urllib3.exceptions.HTTPError, OSError):
                time.sleep(0.2)
            except RuntimeError:
                version = ""

    def _list(self) -> str:
        listed = self._client.get(self._path)
        for body in listed["items"]:
            self._note(body)
        return str(listed["metadata"]["resourceVersion"])

    def _events(self, version: str) -> str:
        query = f"watch=1&resourceVersion={version}&timeoutSeconds=7200"
        for line in self._client.stream(f"{self._path}?{query}"):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise RuntimeError(str(event["object"]))
            version = event["object"]["metadata"]["resourceVersion"]
            self._note(event["object"])
        return version

    def _note(self, body: Body) -> None:
        moment, name, value = time.perf_counter(), body["metadata"]["name"], self._value(body)
        with self._changed:
            self._seen.append((moment, name, value))
            self._now[name] = value
            self._changed.notify_all()
