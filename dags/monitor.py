"""## Monitoring

Looks every morning, and whenever new tail lengths have been measured, whether the champion still fits what it meets.

1. `find_champion` looks which version that is, and which animals it knows: its own are no news.
2. `measure_drift` compares every input of the animals predicted lately with the training animals;
   `measure_decay` compares the error on animals measured lately with the error on the holdout animals.
   Whatever has too few new animals is skipped, and its log says how many there are.
3. `publish_report` logs all numbers and a picture to MLflow as run `Monitoring`, and saves the picture.
4. `judge` leads to `all_is_well`, or to `tell_the_team` and `ask_for_retraining`, which starts **feature_eng**.
   After a retraining was asked for, no other one is until the cool-down is over; the team is told all the same.

New tail lengths are CSV files under `labelled/` in the bucket `data`: the columns of the possum table. A watcher in
Airflow's triggerer sees them within seconds.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, task

from include import config
from include.platform.assets import LABELLED, MONITORING, RETRAINING


def _number(default: float, description: str, **limits: float) -> Param:
    return Param(default, type="number", description=description, **{"minimum": 0, **limits})


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=[LABELLED]),
    doc_md=__doc__,
    tags=["possums", "monitoring"],
    params={
        "days": _number(30, "how far back recent reaches"),
        "least_animals": _number(50, "with fewer new animals nothing is compared", minimum=2),
        "alpha": _number(0.02, "share of false alarms on inputs that have not changed", maximum=1),
        "least_psi": _number(0.25, "population stability index, beyond chance, from which a drift matters"),
        "decay_margin": _number(0.1, "share by which the error may grow"),
        "decay_confidence": _number(0.99, "that the error has grown", exclusiveMinimum=0.5, exclusiveMaximum=1),
        "cool_down_days": _number(7, "after a retraining was asked for, no other one is for so long"),
    },
    **config.DAG_DEFAULTS,
)
def monitor() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")

    @task
    def find_champion() -> dict[str, str]:
        from include.tasks import monitor as steps

        return steps.find_champion()

    @task
    def measure_drift(champion: dict[str, str], params: dict, run_id: str) -> dict[str, str]:
        from include.tasks import monitor as steps

        return steps.measure_drift(champion, params, run_id)

    @task
    def measure_decay(champion: dict[str, str], params: dict, run_id: str) -> dict:
        from include.tasks import monitor as steps

        return steps.measure_decay(champion, params, run_id)

    @task(outlets=[MONITORING], inlets=[RETRAINING], trigger_rule="none_failed_min_one_success")
    def publish_report(
        champion: dict,
        drifted: dict | None,
        decayed: dict | None,
        params: dict,
        run_id: str,
        inlet_events: dict,
        outlet_events: dict,
    ) -> dict:
        from include.tasks import monitor as steps

        report = steps.publish_report(champion, drifted, decayed, params, run_id, inlet_events[RETRAINING])
        outlet_events[MONITORING].extra = report
        return report

    @task.branch
    def judge(report: dict) -> list[str]:
        if not report["findings"]:
            return ["all_is_well"]
        return ["tell_the_team"] if report["cool_down_until"] else ["tell_the_team", "ask_for_retraining"]

    @task
    def tell_the_team(report: dict, run_id: str) -> None:
        from include.platform import alerts
        from include.tasks import look

        alerts.tell(look.describe(report, run_id))

    @task(outlets=[RETRAINING])
    def ask_for_retraining(report: dict, outlet_events: dict) -> None:
        outlet_events[RETRAINING].extra = {"version": report["version"], "findings": report["findings"]}

    champion = find_champion()
    start >> champion
    report = publish_report(champion, measure_drift(champion), measure_decay(champion))
    told = [EmptyOperator(task_id="all_is_well"), tell_the_team(report), ask_for_retraining(report)]
    judge(report) >> told >> end


monitor()
