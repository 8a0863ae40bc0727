"""The examples by which Kubernetes documents `behavior`.

Sources: "Horizontal Pod Autoscaling, Configurable scaling behavior" of the Kubernetes documentation, and KEP-853. Where
an example is about a rate, its window is set to 0, for the window would only delay the same numbers.
"""

from itertools import pairwise

import pytest

from celeriac.api.reasons import Reason
from celeriac.scaling.policy import SelectPolicy
from tests.unit.scaling.virtual_time import DrivenPool, one_task_per_replica, percent, pods, rules

pytestmark = pytest.mark.unit

HPA_DEFAULT_UP = rules(percent(100, 15), pods(4, 15))


def test_documentation_four_pods_or_ten_percent_a_minute_from_80_to_10() -> None:
    """8 of 80, 8 of 72 (7.2 rounded up); at 40 and below the fixed 4 are the larger change."""
    pool = DrivenPool(one_task_per_replica(down=rules(pods(4, 60), percent(10, 60))), replicas=80)
    counts = pool.follow(10, every=60, times=15)
    assert counts == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10, 10]
    assert all(before - after == 4 for before, after in pairwise(counts) if after <= 36 and before > 12)


def test_documentation_a_rate_holds_within_its_period_however_often_it_is_asked() -> None:
    pool = DrivenPool(one_task_per_replica(down=rules(pods(4, 60), percent(10, 60))), replicas=80)
    counts = pool.follow(10, every=0.5, times=121)
    assert counts[:120] == [72] * 120
    assert counts[120] == 64


def test_documentation_default_scale_up_takes_the_larger_of_double_and_four_pods() -> None:
    pool = DrivenPool(one_task_per_replica(up=HPA_DEFAULT_UP), replicas=1)
    assert pool.follow(1000, every=15, times=8) == [5, 10, 20, 40, 80, 160, 320, 640]


def test_documentation_default_scale_down_removes_everything_once_the_window_agrees() -> None:
    pool = DrivenPool(one_task_per_replica(down=rules(percent(100, 15), window=300), min_replicas=1), replicas=50)
    pool.recommend(50)
    assert pool.wait(299).recommend(0).replicas == 50
    assert pool.wait(1).recommend(0).replicas == 1


def test_documentation_change_downscale_stabilization_window_to_one_minute() -> None:
    pool = DrivenPool(one_task_per_replica(down=rules(window=60)), replicas=9)
    pool.recommend(9)
    held = pool.wait(59).recommend(3)
    assert (held.replicas, held.reason) == (9, Reason.STABILIZED)
    fell = pool.wait(1).recommend(3)
    assert (fell.replicas, fell.reason) == (3, Reason.DEMAND_FELL)


def test_documentation_limit_scale_down_rate_to_ten_percent_a_minute() -> None:
    pool = DrivenPool(one_task_per_replica(down=rules(percent(10, 60))), replicas=100)
    assert pool.follow(1, every=60, times=4) == [90, 81, 72, 64]


def test_documentation_limit_scale_down_rate_to_the_smaller_of_ten_percent_and_five_pods() -> None:
    slowest = rules(percent(10, 60), pods(5, 60), select=SelectPolicy.MIN)
    pool = DrivenPool(one_task_per_replica(down=slowest), replicas=60)
    assert pool.follow(1, every=60, times=6) == [55, 50, 45, 40, 36, 32], "5 pods down to 40, then 10 %, rounded up"


def test_documentation_disable_scale_down() -> None:
    pool = DrivenPool(one_task_per_replica(down=rules(select=SelectPolicy.DISABLED)), replicas=7)
    counts = pool.follow(0, every=600, times=3)
    assert counts == [7, 7, 7]
    limit = pool.recommend(0).limit
    assert limit is not None
    assert limit.reason == Reason.SCALE_DOWN_LIMIT
    assert "scaleDown is Disabled" in limit.message
    assert pool.recommend(9).replicas == 9, "up as usual"


def test_kep_story_1_scale_up_as_fast_as_possible() -> None:
    pool = DrivenPool(one_task_per_replica(up=rules(percent(900, 60))), replicas=1)
    assert pool.follow(1000, every=60, times=3) == [10, 100, 1000]


def test_kep_story_2_scale_down_one_pod_every_ten_minutes() -> None:
    pool = DrivenPool(one_task_per_replica(up=rules(percent(900, 60)), down=rules(pods(1, 600))), replicas=1000)
    assert pool.follow(1, every=60, times=21) == [999] * 10 + [998] * 10 + [997]


def test_kep_story_3_scale_up_very_gradually() -> None:
    pool = DrivenPool(one_task_per_replica(up=rules(pods(1, 300))), replicas=1)
    assert pool.follow(50, every=100, times=9) == [2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_kep_story_4_scale_up_as_usual_do_not_scale_down() -> None:
    pool = DrivenPool(one_task_per_replica(up=HPA_DEFAULT_UP, down=rules(select=SelectPolicy.DISABLED)), replicas=4)
    assert pool.follow(20, every=15, times=3) == [8, 16, 20]
    assert pool.follow(1, every=15, times=3) == [20, 20, 20]


def test_kep_story_5_the_largest_recommendation_of_ten_minutes_before_scaling_down() -> None:
    pool = DrivenPool(one_task_per_replica(down=rules(pods(5, 60), window=600)), replicas=10)
    counts = []
    for recommended in [10, 9, 8, 9, 9, 8, 9, 8, 9, 8, 7]:
        counts.append(pool.recommend(recommended).replicas)
        pool.wait(60)
    assert counts == [10] * 10 + [9]


def test_kep_story_6_the_smallest_recommendation_of_five_minutes_before_scaling_up() -> None:
    """The KEP counts six cycles into 300 s, so a cycle is a little less than a minute here."""
    pool = DrivenPool(one_task_per_replica(up=rules(pods(20, 60), window=300)), replicas=2)
    counts = []
    for recommended in [2, 3, 19, 10, 3, 4, 7]:
        counts.append(pool.recommend(recommended).replicas)
        pool.wait(59)
    assert counts == [2] * 6 + [3]


def test_hpa_changes_of_the_other_direction_count_towards_the_start_of_the_period() -> None:
    """The HPA subtracts what was added and adds what was removed: 10 - 4 + 4 pods may become 10 again, and 2 more."""
    pool = DrivenPool(one_task_per_replica(up=rules(pods(2, 60))), replicas=10)
    assert pool.recommend(6).replicas == 6
    assert pool.wait(5).recommend(50).replicas == 12


def test_hpa_a_rate_that_is_used_up_holds_and_never_turns_a_change_round() -> None:
    pool = DrivenPool(one_task_per_replica(up=rules(pods(10, 60)), down=rules(pods(10, 60))), replicas=0)
    assert pool.recommend(10).replicas == 10
    pool.policy = one_task_per_replica(up=rules(pods(4, 60)), down=rules(pods(4, 60)))
    assert pool.wait(5).recommend(20).replicas == 10, "4 from the start of the period would be 4: not less, though"
    pool.wait(60).policy = one_task_per_replica(down=rules(pods(8, 60)))
    assert pool.recommend(1).replicas == 2
    pool.policy = one_task_per_replica(down=rules(pods(4, 60)))
    assert pool.wait(5).recommend(1).replicas == 2, "4 from the start of the period would be 6: not more, though"


def test_what_others_did_to_the_replicas_does_not_leave_a_debt() -> None:
    """10 were added by us and removed by someone else: the period then starts at 0, not at -10."""
    pool = DrivenPool(one_task_per_replica(up=rules(pods(10, 60))), replicas=0)
    assert pool.recommend(10).replicas == 10
    pool.replicas = 0
    assert pool.wait(5).recommend(7).replicas == 7


def test_hpa_percentages_leave_no_dust() -> None:
    """In floating point 100 x 1.1 rounds up to 111, and 100 x (1 - 0.9) rounds down to 9."""
    up = DrivenPool(one_task_per_replica(up=rules(percent(10, 60))), replicas=100)
    assert up.recommend(500).replicas == 110
    down = DrivenPool(one_task_per_replica(down=rules(percent(90, 60))), replicas=100)
    assert down.recommend(1).replicas == 10
