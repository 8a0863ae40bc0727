"""What can go wrong between the operator and the API server, in the operator's own types.

Every exception of aiohttp, of the kubernetes client and of the operating system is mapped here, at the boundary;
no caller has to know them.
"""

import json
from http import HTTPStatus


class ApiError(Exception):
    """The API server refused a request, or could not be asked.

    status   HTTP status; 0 where no answer came
    reason   CamelCase, the server's own (metav1.Status.reason) where it answered
    message  the server's own words
    fields   paths of the fields that it complains of (spec.replicas), where it names any
    """

    def __init__(self, status: int, reason: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.fields = fields


class NotFound(ApiError):
    """404: the object, or its kind, does not exist."""


class Conflict(ApiError):
    """409: the object has changed, was replaced by another of its name, or exists already."""


class Forbidden(ApiError):
    """403: RBAC, a quota or an admission plug-in refuses it."""


class Invalid(ApiError):
    """422: the object fails the validation of the API server."""


class Expired(ApiError):
    """410: what was to be gone on from (a page of a list, the moment of a watch) is no longer known."""


class Unavailable(ApiError):
    """No usable answer now: connection refused or lost, timeout, 429 or 5xx. Worth another try later."""

    @property
    def from_server(self) -> bool:
        """Whether the API server answered that it failed, as it does where an admission webhook cannot be reached."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class BadConfiguration(ApiError):
    """No kubeconfig and no service account can be read: nothing can be asked at all."""


class NotHolder(ApiError):
    """A write was stopped before it left the process, because the operator does not hold its Lease."""


class NameTaken(ApiError):
    """A Deployment of the pool's name exists and belongs to somebody else."""


class StillGoing(NameTaken):
    """It belongs to an earlier owner and goes by itself: that is not worth a warning."""


class SecretKeyMissing(NotFound):
    """A Secret, or one of its keys, does not exist. `secret_exists` tells which of the two."""

    def __init__(self, namespace: str, name: str, key: str, *, secret_exists: bool) -> None:
        message = (
            f"Secret {namespace}/{name} has no key {key!r}; add it, or correct the reference"
            if secret_exists
            else f"Secret {namespace}/{name} does not exist; create it with the key {key!r}, or correct the reference"
        )
        super().__init__(HTTPStatus.NOT_FOUND, "SecretKeyNotFound" if secret_exists else "SecretNotFound", message)
        self.secret_exists = secret_exists


_BY_STATUS: dict[int, type[ApiError]] = {
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Expired,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


def error_from_response(status: int, body: bytes) -> ApiError:
    """Turn an answer outside 2xx into an ApiError, with reason and message of the metav1.Status in its body."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"message": body[:512].decode("utf-8", "replace").strip()}
    kind = _BY_STATUS.get(status, Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiError)
    causes = (answer.get("details") or {}).get("causes") or ()
    fields = tuple(cause["field"] for cause in causes if cause.get("field"))
    return kind(status, answer.get("reason") or _phrase(status), answer.get("message") or "(no message)", fields)


def _phrase(status: int) -> str:
    """The name of an HTTP status as a CamelCase reason."""
    try:
        return HTTPStatus(status).phrase.title().replace(" ", "")
    except ValueError:
        return f"Status{status}"
