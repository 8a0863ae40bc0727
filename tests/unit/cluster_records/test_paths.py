"""Where the API server keeps things: no name leads to another place than its own."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from celeriac.cluster.errors import Invalid
from celeriac.cluster.paths import DEPLOYMENTS, NODES, PODS

pytestmark = pytest.mark.unit

TEXT = st.text(st.characters())
"""Halves of characters too."""


def test_paths_are_those_of_kubernetes() -> None:
    assert PODS.path("shop", "ml-1") == "/api/v1/namespaces/shop/pods/ml-1"
    assert DEPLOYMENTS.path("shop", "ml", "scale") == "/apis/apps/v1/namespaces/shop/deployments/ml/scale"
    assert NODES.path(None, "n1") == "/api/v1/nodes/n1"
    assert (PODS.collection("shop"), PODS.collection(None)) == ("/api/v1/namespaces/shop/pods", "/api/v1/pods")


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    for namespace, pod in ((name, "ml-1"), ("shop", name)):
        with pytest.raises(Invalid):
            PODS.path(namespace, pod)
    with pytest.raises(Invalid):
        PODS.collection(name)


@given(TEXT, TEXT)
@example("../../kube-system", "%2e%2e")
@example("a?b#c", "\r\nHost: x")
def test_whatever_stands_in_a_name_stays_one_part_of_the_path(namespace: str, name: str) -> None:
    """By the very parser that the requests go through."""
    try:
        path = PODS.path(namespace, name)
    except Invalid:
        return
    url = URL(f"https://api{path}", encoded=True).joinpath()
    assert (url.raw_path, url.query_string, url.fragment) == (path, "", "")
    assert path.split("/")[:4] == ["", "api", "v1", "namespaces"]
    assert (len(path.split("/")), path.split("/")[5]) == (7, "pods")
