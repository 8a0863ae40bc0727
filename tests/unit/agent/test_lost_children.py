"""Which late tasks are lost with the prefork child that runs them, and how the setting is laid over."""

import pytest
from celeriac_agent.lost_children import lay_over_lost_children, lost_with_child
from celery import Celery

pytestmark = pytest.mark.unit

NAME = "CELERIAC_REJECT_ON_WORKER_LOST"


def nothing() -> None:
    """The body of every task."""


def application(**config: object) -> Celery:
    """Three tasks that acknowledge late: one says nothing, one yes, one no; and one that acknowledges early."""
    app = Celery("app", set_as_current=False)
    app.conf.update(config)
    for name, options in {
        "silent": {"acks_late": True},
        "yes": {"acks_late": True, "reject_on_worker_lost": True},
        "no": {"acks_late": True, "reject_on_worker_lost": False},
        "early": {"acks_late": False},
    }.items():
        app.task(name=name, **options)(nothing)
    app.finalize()
    return app


def settings(app: Celery) -> dict[str, bool | None]:
    return {name: app.tasks[name].reject_on_worker_lost for name in ("silent", "yes", "no")}


def at_risk(**config: object) -> list[str]:
    """Those of the application; other modules may have shared tasks of theirs in this process."""
    return [name for name in lost_with_child(application(**config)) if not name.startswith("celery_app.")]


def test_a_task_of_which_nobody_has_said_anything_is_at_risk() -> None:
    assert at_risk() == ["silent"]
    assert at_risk(task_reject_on_worker_lost=True) == []
    assert at_risk(task_reject_on_worker_lost=False) == [], "somebody has decided so"
    assert at_risk(task_acks_late=True) == ["silent"], "Celery's own tasks are nobody's loss"


@pytest.mark.parametrize(
    ("configured", "laid", "expected"),
    [
        (None, "1", {"silent": True, "yes": True, "no": False}),
        (None, "0", {"silent": False, "yes": True, "no": False}),
        (False, "1", {"silent": True, "yes": True, "no": True}),
        (True, "0", {"silent": False, "yes": False, "no": False}),
        (None, "", {"silent": None, "yes": True, "no": False}),
    ],
)
def test_what_is_laid_over_is_the_configuration_and_not_what_a_task_says(
    configured: bool | None, laid: str, expected: dict[str, bool | None]
) -> None:
    app = application(**({} if configured is None else {"task_reject_on_worker_lost": configured}))
    lay_over_lost_children(app, {NAME: laid})
    assert settings(app) == expected


def test_an_application_with_a_namespace_is_no_exception() -> None:
    app = Celery("app", set_as_current=False)
    app.config_from_object(
        {"CELERY_TASK_ACKS_LATE": True, "CELERY_TASK_REJECT_ON_WORKER_LOST": False}, namespace="CELERY"
    )
    app.task(name="silent")(nothing)
    app.finalize()
    lay_over_lost_children(app, {NAME: "1"})
    assert app.tasks["silent"].reject_on_worker_lost is True
