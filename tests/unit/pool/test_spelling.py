"""Which names of queues are taken for slips of each other, and which differ on purpose."""

import pytest

from celeriac.pool.spelling import looks_like, sounds, spellings

pytestmark = pytest.mark.unit

SLIPS = [
    ("ml_service", "ml-service"),
    ("ml_service", "MlService"),
    ("image_resize", "imageResize"),
    ("mail.outbound", "mail-outbound"),
    ("Emails", "emails"),
    ("email", "emails"),
    ("orders.eu", "order.eu"),
    ("ml_servce", "ml_service"),
    ("celry", "celery"),
    ("defualt", "default"),
    ("mial", "mail"),
    ("paymnets", "payments"),
    ("notificatoins", "notifications"),
    ("high-priorty", "high-priority"),
    ("orders-2024", "order-2024"),
]
DISTANT = [("high_priority", "high-priorty"), ("notifcatons", "notifications")]
"""Two slips, which nobody who asks a broker for names finds."""
ON_PURPOSE = [
    ("shard-1", "shard-2"),
    ("celery", "celery2"),
    ("mail-eu", "mail-us"),
    ("shard-a", "shard-b"),
    ("mail", "main"),
    ("high", "low"),
    ("us-east", "us-west"),
    ("import", "export"),
    ("orders-prod", "orders-test"),
    ("a", "b"),
    ("q", "qs"),
    ("emails", "emails"),
    ("x" * 200, "x" * 199 + "y"),
    ("", "a"),
]


@pytest.mark.parametrize(("one", "other"), [*SLIPS, *DISTANT])
def test_a_slip_is_one_from_both_sides(one: str, other: str) -> None:
    assert looks_like(one, other)
    assert looks_like(other, one)


@pytest.mark.parametrize(("one", "other"), ON_PURPOSE)
def test_names_that_differ_on_purpose_are_none(one: str, other: str) -> None:
    assert not looks_like(one, other)
    assert not looks_like(other, one)


@pytest.mark.parametrize(("one", "other"), SLIPS)
def test_the_right_name_is_among_those_that_are_looked_for(one: str, other: str) -> None:
    assert other in spellings(one) or one in spellings(other)


def test_as_many_names_are_looked_for_as_one_script_bears() -> None:
    assert len(spellings("notifications_for_customers_in_europe")) < 2500
    assert max(len(spellings("x" * length)) for length in (0, 1, 50, 100, 5000)) < 6000


@pytest.mark.parametrize(("one", "other"), [pair for pair in SLIPS if pair[0] != "mial"])
def test_names_that_look_alike_are_found_by_what_they_share(one: str, other: str) -> None:
    assert set(sounds(one)) & set(sounds(other))
