"""The verbs of the Kubernetes API, for any kind, in Kubernetes' own dicts."""

from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

from celeriac.cluster.connection import APPLY_PATCH, JSON, MERGE_PATCH, METADATA, METADATA_LIST, Connection, OnRequest
from celeriac.cluster.errors import ApiError, Conflict, Expired, Invalid, Unavailable
from celeriac.cluster.listing import Listing
from celeriac.cluster.paths import Resource

REQUEST_TIMEOUT_SECONDS: Final = 4.0
"""Less than the Lease's duration (15 s) minus its renew deadline (10 s): what a holder sent before it lost its Lease
has ended before the next one holds it."""

_WRONG_TYPE: Final = "failed to create typed patch object"
_TOO_NEW: Final = "Too large resource version"
_LIST_TIMEOUT_SECONDS: Final = 30.0
_PAGE_SIZE: Final = 500  # objects; client-go's own default for paged lists


class Verbs:
    """The verbs of one Kubernetes API server. Every method raises ApiError, and nothing else of the network."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None = None,
        *,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        on_request: OnRequest | None = None,
    ) -> Self:
        """Read the credentials: of `kubeconfig`, else of $KUBECONFIG, else of the Pod's service account."""
        connection = Connection(kubeconfig, timeout_seconds, on_request)
        await connection.open()
        return cls(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.connection.close()

    async def read(self, resource: Resource, namespace: str | None, name: str, subresource: str = "") -> dict[str, Any]:
        """One object, or a subresource of it; namespace None for a kind that has none."""
        return await self.connection.request(
            "get", label(resource, subresource), resource.path(namespace, name, subresource)
        )

    async def read_metadata(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object without all but its metadata."""
        path = resource.path(namespace, name)
        return await self.connection.request("get", resource.plural, path, accept=METADATA)

    async def list_metadata(
        self, resource: Resource, namespace: str | None, label_selector: str
    ) -> list[dict[str, Any]]:
        """The metadata of all objects that carry the labels.

        From the API server's cache, a moment old at most: it need not ask etcd for bodies that nobody wants.
        """
        return list(await self._list(resource, namespace, label_selector, {"resourceVersion": "0"}, METADATA_LIST))

    async def any_carries(self, resource: Resource, namespace: str, label_selector: str) -> bool:
        """Whether an object carries the labels now. The answer is one object's metadata at most, however many do."""
        listing = await self._list(resource, namespace, label_selector, {"limit": "1"}, METADATA_LIST)
        return any(True for _ in listing)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; Conflict where it exists."""
        return await self.connection.request("create", resource.plural, resource.collection(namespace), body=body)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object; Conflict where `body` carries a resourceVersion that is not the current one."""
        return await self.connection.request("update", resource.plural, resource.path(namespace, name), body=body)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete this very object; Conflict where another has taken its name, NotFound where there is none."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self.connection.request("delete", resource.plural, resource.path(namespace, name), body=options)

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str = "",
    ) -> dict[str, Any]:
        """JSON merge patch (RFC 7386) of an object or a subresource."""
        return await self.connection.request(
            "patch",
            label(resource, subresource),
            resource.path(namespace, name, subresource),
            query={"fieldManager": manager},
            body=body,
            content_type=MERGE_PATCH,
        )

    async def apply(
        self, resource: Resource, manifest: Mapping[str, Any], *, manager: str, force: bool = True
    ) -> dict[str, Any]:
        """Server-side apply. With metadata.uid in the manifest it is a Conflict where that very object is gone.

        The API server says so in two ways: a 409 where nothing of the name exists, a 422 on metadata.uid where
        another object has taken the name; both are one thing to the caller.
        """
        metadata = manifest["metadata"]
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        try:
            return await self.connection.request(
                "apply",
                resource.plural,
                resource.path(metadata["namespace"], metadata["name"]),
                query=query,
                body=manifest,
                content_type=APPLY_PATCH,
            )
        except Invalid as error:
            raise conflict_if_replaced(error) from error
        except Unavailable as error:
            # The API server calls a field of the wrong type or name its own internal error (seen on 1.34).
            if _WRONG_TYPE in error.message:
                raise Invalid(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", error.message) from error
            raise

    async def list_all(
        self, resource: Resource, namespace: str | None, label_selector: str = "", *, page_size: int = _PAGE_SIZE
    ) -> list[dict[str, Any]]:
        """All objects of a kind, read in pages."""
        return list(await self.list_at(resource, namespace, label_selector, page_size=page_size))

    async def list_cached(
        self, resource: Resource, namespace: str | None, label_selector: str, at_least: int
    ) -> Listing:
        """The same, as new as the version `at_least`, from the cache of the API server: etcd is asked nothing.

        So do the informers of Kubernetes, and for the same reason: what an older server pages, it reads from etcd, each
        object of the kind once a page (seen on 1.34 with etcd 3.4; newer ones answer from their cache by themselves). A
        server whose cache is behind is waited for; where it stays behind (3 s), or is not filled yet (a 429 just after
        a CRD was made), etcd is asked after all. The answer is one piece of text; its objects are decoded when they are
        taken.
        """
        query = {"resourceVersion": str(at_least), "resourceVersionMatch": "NotOlderThan"}
        try:
            return await self._list(resource, namespace, label_selector, query)
        except (Expired, Unavailable) as error:
            too_new = _TOO_NEW in error.message
            if isinstance(error, Unavailable) and not (too_new or error.status == HTTPStatus.TOO_MANY_REQUESTS):
                raise
            return await self.list_at(resource, namespace, label_selector)

    async def list_at(
        self, resource: Resource, namespace: str | None, label_selector: str = "", *, page_size: int = _PAGE_SIZE
    ) -> Listing:
        """All objects of a kind, read in pages, and the version from which a watch goes on.

        A page token expires with etcd's compaction (410 Gone, after minutes); the list is then read whole, as
        client-go does.
        """
        query = {"limit": str(page_size)}
        items: list[dict[str, Any]] = []
        while True:
            try:
                page = await self._list(resource, namespace, label_selector, query)
            except Expired:
                if "continue" not in query:
                    raise
                items.clear()
                del query["continue"], query["limit"]
                continue
            items += page
            if not page.more:
                return Listing(items, page.version)
            query["continue"] = page.more

    async def _list(
        self,
        resource: Resource,
        namespace: str | None,
        label_selector: str,
        query: Mapping[str, str],
        accept: str = JSON,
    ) -> Listing:
        """One answer with objects that carry the labels; all do where none are named."""
        selected = {"labelSelector": label_selector} if label_selector else {}
        answer = await self.connection.answer(
            "list",
            resource.plural,
            resource.collection(namespace),
            query={**query, **selected},
            accept=accept,
            timeout_seconds=_LIST_TIMEOUT_SECONDS,
        )
        return Listing.decoded(answer)


def label(resource: Resource, subresource: str) -> str:
    """How metrics and errors name a resource: deployments, deployments/scale."""
    return f"{resource.plural}/{subresource}" if subresource else resource.plural


def conflict_if_replaced(error: Invalid) -> ApiError:
    """A Conflict where the API server complains of the uid: another object has taken the name; else the error."""
    if "metadata.uid" not in error.fields:
        return error
    return Conflict(HTTPStatus.CONFLICT, "Conflict", error.message)
