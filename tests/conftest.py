"""Rules for every test: what a machine's cluster leaves to test is asked once; a test that CI skips has failed."""

import os

import pytest

from tests.cluster.choose import Machine


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of a node of our own where kind, or a cluster that the user names, takes its place.

    Where nothing takes its place they stay, and fail with what to do about it.
    """
    own_node = [item for item in items if item.get_closest_marker("own_node")]
    if not own_node or (machine := Machine.this()).can_be_node or not (machine.named or machine.docker):
        return
    config.hook.pytest_deselected(items=own_node)
    items[:] = [item for item in items if item not in own_node]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):  # type: ignore[no-untyped-def]
    """Turn a skip into a failure where CI=true."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
