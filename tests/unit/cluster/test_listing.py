"""Lists in JSON, object by object: whatever the order of the fields, and whatever is no list."""

import json

import pytest

from celeriac.cluster.errors import ApiError
from celeriac.cluster.listing import Listing

pytestmark = pytest.mark.unit

PODS = [{"metadata": {"name": "a", "resourceVersion": "1"}}, {"metadata": {"name": "b"}, "items": [1, {"x": "]}"}]}]
OF_A_KIND = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "77"}, "items": PODS}


@pytest.mark.parametrize("text", [json.dumps(OF_A_KIND, indent=2), json.dumps(OF_A_KIND, separators=(",", ":"))])
def test_a_list_gives_its_objects_and_its_version(text: str) -> None:
    listing = Listing.decoded(text.encode())
    assert list(listing) == PODS
    assert listing.version == "77"


def test_a_list_of_custom_resources_tells_its_version_after_its_objects() -> None:
    listing = Listing.decoded(json.dumps(dict(sorted(OF_A_KIND.items()))).encode())
    taken = iter(listing)
    assert next(taken) == PODS[0]
    assert listing.version == ""
    assert list(taken) == PODS[1:]
    assert listing.version == "77"


@pytest.mark.parametrize("items", ["[]", " [ ] ", "null"])
def test_an_empty_list_may_be_null(items: str) -> None:
    listing = Listing.decoded(f'{{"items":{items},"metadata":{{"resourceVersion":"5"}}}}'.encode())
    assert (list(listing), listing.version) == ([], "5")


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{", b'{"items"', b'{"items":[{}', b'{"items":[{} {}]}', b'{"items":{}}', b'{"metadata":5}'),
        *(b"\xff", b'{"items":[],"metadata":[]}', b"<html>"),
    ],
)
def test_what_is_no_list_is_an_error_of_the_api_server(text: bytes) -> None:
    with pytest.raises(ApiError, match="sent no list"):
        list(Listing.decoded(text))
