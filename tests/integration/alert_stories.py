"""When each alert fires, and when it stays silent. Only the alerts that a story names fire in it, no other one."""

from typing import Final

from tests.integration.alert_scene import (
    HANDED_OVER,
    TWO_REPLICAS,
    Story,
    counting,
    moved,
    operator,
    pool,
    steady,
)

ML: Final = "namespace=shop pool=ml"
TASK: Final = f"{ML} task=app.add"

FIRING: Final = (
    Story(
        "a broker that cannot be read",
        TWO_REPLICAS
        | pool(unreadable=steady(1), oldest=None, silent=None, not_fetching=None, degraded=None, dead=None),
        5,
        (f"CeleriacBrokerUnreadable {ML}",),
        told="",
    ),
    Story("tasks wait", TWO_REPLICAS | pool(oldest=steady(95)), 6, (f"CeleriacTasksWaitTooLong {ML}",), told="1m 35s"),
    Story(
        "pods do not come",
        TWO_REPLICAS | pool(desired=steady(8)),
        16,
        (f"CeleriacDesiredNotReached {ML}",),
        told="8",
    ),
    Story("a pool is stalled", TWO_REPLICAS | pool(stalled=steady(1)), 3, (f"CeleriacPoolStalled {ML}",), told=""),
    Story(
        "a pod drains for hours",
        TWO_REPLICAS | pool(drain=steady(7300)),
        3,
        (f"CeleriacDrainingForHours {ML}",),
        told="2h 1m 40s",
    ),
    Story(
        "workers do not respond",
        TWO_REPLICAS | pool(silent=steady(1), not_fetching=steady(2)),
        4,
        (f"CeleriacWorkersSilent {ML}",),
        told="3",
    ),
    Story(
        "an agent lacks a hook, or counts of tasks cannot be read",
        TWO_REPLICAS | pool(degraded=steady(1)),
        12,
        (f"CeleriacAgentDegraded {ML}",),
        told="",
    ),
    Story(
        "dead letters lie", TWO_REPLICAS | pool(dead=steady(3)), 3, (f"CeleriacDeadLetters {ML} queue=ml",), told="3"
    ),
    Story(
        "half of the runs fail",
        TWO_REPLICAS | pool(succeeded=counting(2), failed=counting(2)),
        20,
        (f"CeleriacTasksFailing {TASK}",),
        told="50%",
    ),
    Story(
        "both replicas stand by",
        operator("a", leads=steady(0)) | operator("b", leads=steady(0)),
        4,
        ("CeleriacNoLeader",),
        told="",
    ),
    Story(
        "a quarter of the ticks is made",
        operator("a", ticks=counting(7.5)) | pool(),
        20,
        ("CeleriacTicksLate instance=a",),
        told="25%",
    ),
)
"""Each alert once, with all that it says."""

STILL_FIRING: Final = (
    Story(
        "another replica takes over while a broker cannot be read",
        HANDED_OVER | moved(40, unreadable=steady(1)),
        10.5,
        (f"CeleriacBrokerUnreadable {ML}",),
    ),
    Story(
        "another replica takes over while pods do not come",
        HANDED_OVER | moved(40, desired=steady(8)),
        16,
        (f"CeleriacDesiredNotReached {ML}",),
    ),
    Story(
        "the operator starts anew while tasks wait",
        operator("a", leads="1x8 stale _x2 1x300", ticks="0+30x8 stale _x2 0+30x300")
        | pool(oldest="60x8 stale _x2 60x300"),
        6,
        (f"CeleriacTasksWaitTooLong {ML}",),
    ),
    Story(
        "another replica takes over while tasks fail",
        HANDED_OVER
        | pool(succeeded="0+2x40 stale", failed="0+2x40 stale")
        | pool(instance="b", succeeded="_x42 84+2x300", failed="_x42 84+2x300"),
        20,
        (f"CeleriacTasksFailing {TASK}",),
    ),
    Story(
        "another replica takes over while counts of tasks cannot be read",
        HANDED_OVER | moved(40, degraded=steady(1)),
        12,
        (f"CeleriacAgentDegraded {ML}",),
    ),
    Story("nothing is scraped", {}, 4, ("CeleriacNoLeader",)),
    Story(
        "another operator leads, ours does not",
        operator("a", leads=steady(0)) | {'celeriac_leader{job="celeriac-metrics", namespace="other"}': steady(1)},
        4,
        ("CeleriacNoLeader",),
    ),
    Story(
        "of twins in two namespaces one is in need",
        TWO_REPLICAS | pool(desired=steady(9), dead=steady(1)) | pool("billing", desired=steady(9), ready=steady(9)),
        16,
        (f"CeleriacDesiredNotReached {ML}", f"CeleriacDeadLetters {ML} queue=ml"),
    ),
    Story(
        "of twins in two clusters one is in need",
        TWO_REPLICAS
        | {name.replace("{", '{cluster="north", '): values for name, values in pool(oldest=steady(60)).items()}
        | {name.replace("{", '{cluster="south", '): values for name, values in pool(oldest=steady(1)).items()},
        6,
        (f"CeleriacTasksWaitTooLong cluster=north {ML}",),
    ),
    Story(
        "two pools read one queue with dead letters",
        TWO_REPLICAS | pool(dead=steady(2)) | pool(name="spare", dead=steady(2)),
        3,
        (f"CeleriacDeadLetters {ML} queue=ml", "CeleriacDeadLetters namespace=shop pool=spare queue=ml"),
    ),
)
"""What must not silence an alert."""

SILENT: Final = (
    Story("all is well", TWO_REPLICAS | pool() | pool("billing"), 60),
    Story(
        "a pool sleeps at zero",
        TWO_REPLICAS | pool(desired=steady(0), ready=steady(0), succeeded=steady(7), failed=steady(7)),
        60,
    ),
    Story(
        "a pool without the agent tells little",
        TWO_REPLICAS | pool(oldest=None, drain=None, silent=None, not_fetching=None, degraded=None, succeeded=None),
        60,
    ),
    Story("no pool is there", TWO_REPLICAS, 60),
    Story("a broker is away for a minute", TWO_REPLICAS | pool(unreadable="0x20 1x4 0x300"), 6),
    Story(
        "a broker is away for a minute, again and again", TWO_REPLICAS | pool(unreadable="0x20 1x4 0x40 1x4 0x300"), 17
    ),
    Story("tasks wait for less than twice the target", TWO_REPLICAS | pool(oldest=steady(19)), 30),
    Story("a target of tasks per slot has no wait", TWO_REPLICAS | pool(oldest=steady(600), target=None), 30),
    Story("a burst is over in four minutes", TWO_REPLICAS | pool(oldest="0x20 60x16 0x300"), 9),
    Story("a dry run asks for pods", TWO_REPLICAS | pool(desired=steady(8), decision=None, dry_run=steady(1)), 30),
    Story("pods come within ten minutes", TWO_REPLICAS | pool(desired="2x20 8x300", ready="2x60 8x300"), 14),
    Story("a pool that asked for pods was deleted", TWO_REPLICAS | pool(desired="8x40 stale", ready="2x40 stale"), 17),
    Story(
        "more pods are ready than wanted, as one drains", TWO_REPLICAS | pool(ready=steady(5), drain=steady(7100)), 30
    ),
    Story("workers are silent for a minute", TWO_REPLICAS | pool(silent="0x20 1x4 0x300"), 6),
    Story("an agent lacks a hook until the rollout has ended", TWO_REPLICAS | pool(degraded="0x20 1x20 0x300"), 10),
    Story("counts of tasks cannot be read for nine minutes", TWO_REPLICAS | pool(degraded="0x20 1x36 0x300"), 15.5),
    Story("dead letters were dropped", TWO_REPLICAS | pool(dead="3x20 0x300"), 9),
    Story("one run of a hundred fails", TWO_REPLICAS | pool(succeeded=counting(99), failed=counting(1)), 30),
    Story(
        "a rare task fails four times of four", TWO_REPLICAS | pool(succeeded=steady(0), failed="0x20 1 2 3 4x300"), 12
    ),
    Story(
        "the counters of failed tasks begin anew",
        operator("a", leads="1x40 stale _x2 1x300", ticks="0+30x40 stale _x2 0+30x300")
        | pool(succeeded="5000+10x40 stale _x2 0+10x300", failed="900x40 stale _x2 0x300"),
        20,
    ),
    Story(
        "the counters of the new leader begin where those of the old one were",
        HANDED_OVER | moved(40, succeeded=counting(10, start=5000), failed=steady(900)),
        20,
    ),
    Story("another replica takes over", HANDED_OVER | moved(40), 12),
    Story(
        "the only replica starts anew within 45 s",
        operator("a", leads="1x40 stale _x2 1x300", ticks="0+30x40 stale _x2 0+30x300") | pool(),
        11,
    ),
    Story(
        "nobody leads for two minutes",
        operator("a", leads="1x40 stale _x7 1x300", ticks="0+30x40 stale _x7 0+30x300") | pool(),
        12,
    ),
    Story(
        "an operator has led for four minutes", operator("a", leads="_x40 1x300", ticks="_x40 0+30x300") | pool(), 14
    ),
    Story(
        "the ticks of an operator that starts anew count from 0",
        operator("a", ticks="9000+30x40 0+30x300") | pool(),
        14,
    ),
    Story("slow ticks were asked for", operator("a", ticks=counting(3)) | pool(), 30, values={"tickSeconds": 5}),
)
"""What must not wake anybody."""

STALLED_BY_ITS_BROKER: Final = Story(
    "a pool is stalled by its broker, which is said once",
    TWO_REPLICAS | pool(unreadable=steady(1), stalled=steady(1)),
    15,
    (f"CeleriacBrokerUnreadable {ML}",),
)

OTHERWISE: Final = (
    Story(
        "a target may be missed by more where the chart says so",
        TWO_REPLICAS | pool(oldest=steady(60)),
        10,
        values={"prometheusRule": {"thresholds": {"waitFactor": 10}}},
    ),
    Story(
        "an alert that is left out",
        TWO_REPLICAS | pool(dead=steady(3), degraded=steady(1)),
        12,
        (f"CeleriacDeadLetters {ML} queue=ml",),
        values={"prometheusRule": {"disabled": ["CeleriacAgentDegraded"]}},
    ),
    Story(
        "a scrape of one's own",
        {'celeriac_leader{job="mine"}': steady(1)},
        10,
        values={"prometheusRule": {"operatorSelector": 'job="mine"'}},
    ),
    Story(
        "clusters are told apart by another label",
        TWO_REPLICAS | {name.replace("{", '{k8s="north", '): values for name, values in pool(dead=steady(3)).items()},
        3,
        (f"CeleriacDeadLetters k8s=north {ML} queue=ml",),
        values={"metrics": {"clusterLabel": "k8s"}},
    ),
)
"""What values of the chart change."""

STORIES: Final = (*FIRING, *STILL_FIRING, *SILENT, STALLED_BY_ITS_BROKER, *OTHERWISE)
