"""The operator with workers that are there as processes: on the control plane of the integration tests."""

from tests.integration.conftest import control_plane, core_api, namespace  # noqa: F401 (fixtures)
