"""podSecurity: Restricted, as the parser holds it; tests/integration asks the API server about the same templates."""

import pytest

from celeriac.pool.model import InvalidPool
from celeriac.pool.parse import parse_pool, problems
from tests.unit.pool.bodies import minimal
from tests.unit.pool.pod_security_rows import ROWS, Row, container, spec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.template)[:100])
def test_what_breaks_the_standard_is_named_with_its_cure_and_nothing_else_is_refused(row: Row) -> None:
    if row.refused is None:
        parse_pool(row.body())
    else:
        with pytest.raises(InvalidPool) as caught:
            parse_pool(row.body())
        assert caught.value.field == row.refused
        assert "podSecurity: Restricted" in str(caught.value)


@pytest.mark.parametrize("row", [row for row in ROWS if row.refused], ids=lambda row: str(row.refused))
def test_baseline_leaves_the_template_to_the_label_of_the_namespace(row: Row) -> None:
    parse_pool(row.body("Baseline"))


def test_all_that_breaks_the_standard_is_told_at_once() -> None:
    bad = container(securityContext={"privileged": True, "runAsUser": 0}, ports=[{"hostPort": 80}])
    volumes = [{"name": "node", "hostPath": {"path": "/"}}]
    found = problems(minimal(podSecurity="Restricted", template=spec(sidecars=[bad], volumes=volumes)))
    assert [problem.field.removeprefix("spec.template.spec.") for problem in found] == [
        "volumes[0].hostPath",
        "sidecars[0].securityContext.runAsUser",
        "sidecars[0].securityContext.privileged",
        "sidecars[0].ports[0].hostPort",
    ]
