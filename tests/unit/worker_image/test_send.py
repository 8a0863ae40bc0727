"""The sender's parsing, and the messages that it makes of an order."""

import pytest
from celery_app import QUEUES
from celery_app.send import Order, main, signatures
from click.testing import CliRunner

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("queue", QUEUES)
def test_every_queue_gets_as_many_tasks_as_were_ordered_and_its_own_route(queue: str) -> None:
    made = signatures(queue, Order(count=3, seconds=0.5, priority=6))
    assert [signature.options["priority"] for signature in made] == [6, 6, 6]
    assert {signature.app.amqp.router.route({}, signature.task)["queue"].name for signature in made} == {queue}


def test_a_countdown_makes_eta_tasks_and_its_absence_does_not() -> None:
    assert signatures("celery", Order(count=1, seconds=0, countdown=90))[0].options["countdown"] == 90
    assert "countdown" not in signatures("celery", Order(count=1, seconds=0))[0].options


def test_mail_can_be_refused_and_cpu_work_can_be_light() -> None:
    order = Order(count=1, seconds=2, cpu_share=0.1, failures=2)
    assert signatures("email_service", order)[0].kwargs == {"seconds": 2, "failures": 2}
    assert signatures("batch", order)[0].kwargs == {"seconds": 2, "cpu_share": 0.1}


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["--queue", "mail"], "'email_service', 'ml_service', 'batch', 'celery'"),
        (["--count", "0"], "1<=x<=100000"),
        (["--priority", "10"], "0<=x<=9"),
        (["--seconds", "-1"], "x>=0"),
        (["--rate", "0"], "x>0"),
        (["--chord"], "add --queue batch"),
        (["--chord", "--queue", "celery"], "add --queue batch"),
    ],
)
def test_a_wrong_option_is_refused_with_its_cure_before_anything_is_sent(arguments: list[str], cure: str) -> None:
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 2
    assert cure in answer.output


def test_help_teaches_by_examples() -> None:
    answer = CliRunner().invoke(main, ["--help"])
    assert answer.exit_code == 0
    assert "--queue ml_service --count 40 --seconds 2" in answer.output
