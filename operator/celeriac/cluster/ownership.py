"""Whose an object is that has the name of one of a pool's children."""

from http import HTTPStatus

from celeriac.api.names import GROUP, KIND
from celeriac.cluster.body import Body
from celeriac.cluster.errors import NameTaken, StillGoing
from celeriac.cluster.records import controller_of


def check_owner(current: Body, manifest: Body, pool_uid: str) -> None:
    """Raise StillGoing or NameTaken unless the pool of that uid controls the object that has the manifest's name."""
    owner = controller_of(current) or {}
    if owner.get("uid") == pool_uid:
        return
    metadata = current["metadata"]
    name = f"{manifest['kind']} {metadata['namespace']}/{metadata['name']}"
    if metadata.get("deletionTimestamp") or _is_pool(owner, (controller_of(manifest) or {}).get("name")):
        message = f"{name} belongs to an earlier owner and is being deleted; it is replaced as soon as it is gone"
        raise StillGoing(HTTPStatus.CONFLICT, "NameTaken", message)
    message = f"{name} exists and does not belong to this pool; delete it, or give the pool another name"
    raise NameTaken(HTTPStatus.CONFLICT, "NameTaken", message)


def _is_pool(owner: Body, name: str | None) -> bool:
    """Whether the owner is a pool of that name: of another uid it is gone, and the garbage collector will follow."""
    group = owner.get("apiVersion", "").partition("/")[0]
    return (group, owner.get("kind"), owner.get("name")) == (GROUP, KIND, name)
