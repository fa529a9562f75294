import json
import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

import include.mlflow_provider as provider
from include.mlflow_provider.exceptions import MLflowAPIError, MLflowConnectionError
from include.mlflow_provider.hooks import rest
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.sensors.model_version import MLflowModelVersionSensor

from ..scripted import Answer

MODES = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]
FIRST, LATER = {"task_reschedule_count": 0}, {"task_reschedule_count": 1}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(rest, "RETRY_AFTER_MAX", 0.01)


class Task:
    """What a sensor asks of its task instance."""

    def get_first_reschedule_date(self, context):
        return None


def sensor(**arguments):
    return MLflowModelVersionSensor(task_id="wait", **{"poke_interval": 0.05, "timeout": 30, **arguments})


def wait(context=FIRST, **arguments):
    return sensor(**arguments).execute({"ti": Task(), **context})


def look(**arguments):
    """The version, if the sensor would not have to wait."""
    found = sensor(**arguments).poke(FIRST)
    return found.xcom_value if found.is_done else None


def link_of(task):
    (link,) = task.operator_extra_links
    return link.get_link(task, ti_key=None)


def answer(status="READY", **fields):
    return Answer(200, json.dumps({"model_version": {"name": "m", "version": "1", "status": status, **fields}}))


@pytest.mark.parametrize("arguments", MODES)
@pytest.mark.parametrize("number", ["1", 1])
def test_a_version_that_is_there_is_returned_at_once_as_the_hook_returns_it(hook, name, version, number, arguments):
    assert wait(name=name, version=number, **arguments) == hook.get_model_version(name, 1) == version


def test_its_link_leads_to_the_version_when_it_is_there(hook, name, version):
    task = sensor(name=name, alias="champion")
    assert not task.poke(FIRST)
    assert link_of(task) == ""
    hook.set_registered_model_alias(name, "champion", 1)
    assert task.poke(FIRST)
    assert link_of(task) == f"{hook.base_url}/#/models/{quote(name)}/versions/1"


def test_a_certain_version_has_to_carry_the_alias(hook, name, version, add_version):
    add_version()
    hook.set_registered_model_alias(name, "champion", 2)
    assert look(name=name, version=1, alias="champion") is None
    assert look(name=name, version=2, alias="champion")["aliases"] == ["champion"]


def test_model_version_and_alias_are_waited_for_until_they_are_there(hook, name, add_version):
    with ThreadPoolExecutor(3) as workers:
        found = {
            "version": workers.submit(wait, name=name, version=2),
            "alias": workers.submit(wait, name=name, alias="champion"),
            "both": workers.submit(wait, name=name, version=2, alias="champion"),
        }
        add_version()
        assert not any(future.done() for future in found.values())
        add_version()
        assert found["version"].result()["version"] == "2"
        assert not found["alias"].done()
        hook.set_registered_model_alias(name, "champion", 2)
        assert found["alias"].result() == found["both"].result() == hook.get_model_version(name, 2)


@pytest.mark.parametrize("wanted", [{"version": 1}, {"alias": "champion"}])
def test_a_user_who_is_no_administrator_waits_for_a_model_too(hook, name, lengths, ordinary_user, wanted):
    assert look(name=name, mlflow_conn_id=ordinary_user, **wanted) is None
    hook.create_registered_model(name)
    assert look(name=name, mlflow_conn_id=ordinary_user, **wanted) is None
    version = hook.create_model_version(name, lengths.uri)
    hook.set_registered_model_alias(name, "champion", 1)
    assert look(name=name, mlflow_conn_id=ordinary_user, **wanted)["source"] == version["source"]


def test_a_model_that_a_user_may_not_see_ends_the_wait(hook, name, version, ordinary_user):
    user = MLflowClientHook(mlflow_conn_id=ordinary_user).server.login
    denial = {"username": user, "resource_type": "registered_model", "resource_id": name, "permission": "DENY"}
    hook.call("POST", "api/3.0/mlflow/users/permissions/grant", denial)
    with pytest.raises(AirflowFailException, match=r"403 .*'ordinary' lacks this permission"):
        wait(name=name, version=1, mlflow_conn_id=ordinary_user)


def test_a_pending_version_is_waited_for_and_the_log_says_so(name, version, set_status, capsys):
    set_status("PENDING_REGISTRATION")
    assert look(name=name, version=1) is None
    assert f'Version 1 of "{name}" is PENDING_REGISTRATION' in capsys.readouterr().out
    set_status("READY")
    assert look(name=name, version=1) == version


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        ({"at_most": 1.26}, True),
        ({"at_most": 1.25}, False),
        ({"at_least": 1.26}, True),
        ({"at_least": "1.27"}, False),
        ({"at_least": 1, "at_most": "1.5"}, True),
        ({"at_least": 1.3, "at_most": 1.5}, False),
    ],
)
def test_a_metric_has_to_lie_within_its_limits(name, add_version, limits, passes):
    version = add_version(rmse=1.26)
    assert look(name=name, version=1, metric="rmse", **limits) == (version if passes else None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_finite_number_is_not_below_a_limit(name, add_version, value):
    add_version(rmse=value)
    assert look(name=name, version=1, metric="rmse", at_most=1e9) is None


def test_a_missing_metric_and_one_beyond_its_limits_are_reported_in_the_log(name, add_version, capsys):
    add_version(rmse=1.26)
    look(name=name, version=1, metric="mae", at_most=1)
    assert "has no metric 'mae'" in capsys.readouterr().out
    look(name=name, version=1, metric="rmse", at_least=0.5, at_most=1)
    assert "has rmse 1.26, not at least 0.5 and at most 1.0" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", MODES)
@pytest.mark.parametrize(("soft_fail", "outcome"), [(False, AirflowFailException), (True, AirflowSkipException)])
def test_a_failed_registration_ends_the_wait(name, version, set_status, arguments, soft_fail, outcome):
    set_status("FAILED_REGISTRATION", "bucket is full")
    with pytest.raises(outcome) as caught:
        wait(name=name, version=1, soft_fail=soft_fail, **arguments)
    failure = caught.value.__cause__ if soft_fail else caught.value
    assert str(failure) == f"Version 1 of {name!r} is FAILED_REGISTRATION: bucket is full. Register the model again."


def test_a_failed_registration_is_reported_before_anything_else(name, version, set_status):
    set_status("FAILED_REGISTRATION")
    with pytest.raises(AirflowFailException, match="MLflow gives no reason"):
        wait(name=name, version=1, alias="champion", metric="rmse", at_most=1)


@pytest.mark.parametrize("arguments", MODES)
def test_a_wrong_password_ends_the_wait_with_the_connection_to_correct(hook, connect, name, arguments):
    connect(host=hook.base_url, login="admin", password="s3cret-word")
    with pytest.raises(AirflowFailException, match="Check login and password of connection 'scripted'") as caught:
        wait(name=name, alias="champion", mlflow_conn_id="scripted", **arguments)
    assert isinstance(caught.value.__cause__, MLflowAPIError)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Answer(403, "Invalid Host header"), "--allowed-hosts"),
        (Answer(404, "<html>nginx</html>"), "path prefix of the connection"),
        (Answer(200, "<html>Sign in</html>", {"Content-Type": "text/html"}), "login page"),
    ],
)
def test_a_server_that_refuses_or_is_no_mlflow_ends_the_wait(scripted, response, message):
    scripted(response)
    with pytest.raises(AirflowFailException, match=message):
        wait(LATER, name="m", version=1, mlflow_conn_id="scripted", mode="reschedule")


def test_a_name_that_mlflow_does_not_allow_ends_the_wait(name, version):
    with pytest.raises(AirflowFailException, match="Invalid alias name: 'no pe!'"):
        wait(name=name, alias="no pe!")
    with pytest.raises(AirflowFailException, match="'version' must be an integer, got 'None'"):
        wait(name=name, version="None")


def test_a_connection_that_cannot_be_used_ends_the_wait(connect):
    connect(host="")
    with pytest.raises(AirflowFailException, match="'scripted' names no host"):
        wait(name="m", version=1, mlflow_conn_id="scripted")
    with pytest.raises(AirflowNotFoundException, match="`nowhere` isn't defined"):
        wait(name="m", version=1, mlflow_conn_id="nowhere")


@pytest.mark.parametrize("arguments", MODES)
def test_a_server_that_is_away_from_the_start_fails_the_task_so_that_it_is_tried_again(scripted, arguments):
    server = scripted(Answer())
    server.stop()
    with pytest.raises(MLflowConnectionError, match=r"No answer from MLflow.*'scripted'"):
        wait(name="m", version=1, mlflow_conn_id="scripted", **arguments)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_goes_away_later_is_waited_for(scripted, status):
    scripted(answer("PENDING_REGISTRATION"), *[Answer(status, "later")] * 9, answer())
    assert wait(name="m", version=1, mlflow_conn_id="scripted")["status"] == "READY"


def test_a_server_that_is_away_when_the_sensor_comes_back_is_waited_for(scripted, capsys):
    scripted(Answer(503, "starting"))
    with pytest.raises(AirflowRescheduleException):
        wait(LATER, name="m", version=1, mlflow_conn_id="scripted", mode="reschedule")
    assert "Waiting: MLflow answered 503" in capsys.readouterr().out


def test_with_silent_fail_a_server_that_is_away_from_the_start_is_waited_for(scripted):
    scripted(*[Answer(500, "later")] * 9, answer())
    assert wait(name="m", version=1, mlflow_conn_id="scripted", silent_fail=True)["status"] == "READY"
    scripted(Answer(500, "later"))
    with pytest.raises(TaskDeferred):
        wait(name="m", version=1, mlflow_conn_id="scripted", silent_fail=True, deferrable=True)


@pytest.mark.parametrize(("soft_fail", "outcome"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_wait_ends_with_the_timeout(services, name, mode, soft_fail, outcome):
    with pytest.raises(outcome, match="timed out"):
        wait(name=name, version=1, timeout=0, mode=mode, soft_fail=soft_fail)


def test_a_deferrable_sensor_waits_in_the_triggerer_until_its_timeout(services, name):
    how = {"timeout": timedelta(hours=6), "poke_interval": timedelta(minutes=2), "deferrable": True}
    wanted = {"version": "{{ params.version }}", "alias": "champion", "metric": "rmse", "at_most": "{{ params.limit }}"}
    task = sensor(name=name, **wanted, **how)
    task.render_template_fields({"params": {"version": 3, "limit": 1.3}})
    with pytest.raises(TaskDeferred) as deferral:
        task.execute(FIRST)
    assert (deferral.value.method_name, deferral.value.timeout) == ("execute_complete", timedelta(hours=6))
    path, arguments = deferral.value.trigger.serialize()
    assert path == "include.mlflow_provider.triggers.model_version.MLflowModelVersionTrigger"
    condition = {"name": name, "version": "3", "alias": "champion", "metric": "rmse", "at_least": None, "at_most": 1.3}
    assert arguments == condition | {"mlflow_conn_id": "mlflow_default", "poke_interval": 120.0}


def test_after_the_triggerer_the_version_is_returned_and_linked():
    task = sensor(name="m", version=1)
    event = {"version": {"version": "1"}, "page": "https://mlflow/#/models/m/versions/1"}
    assert task.execute_complete({}, event) == {"version": "1"}
    assert link_of(task) == event["page"]


def test_after_the_triggerer_an_error_fails_the_task_or_skips_it():
    event = {"event": {"error": "MLflow answered 401"}}
    with pytest.raises(AirflowFailException, match="MLflow answered 401"):
        sensor(name="m", version=1).resume_execution("execute_complete", event, {})
    with pytest.raises(AirflowSkipException):
        sensor(name="m", version=1, soft_fail=True).resume_execution("execute_complete", event, {})


def test_every_argument_that_says_what_to_wait_for_is_a_template(hook, name, add_version):
    version = add_version(rmse=1.26)
    hook.set_registered_model_alias(name, "champion", 1)
    values = {"name": name, "version": 1, "alias": "champion", "metric": "rmse", "at_least": 1, "at_most": 1.3}
    task = sensor(**{field: f"{{{{ params.{field} }}}}" for field in values})
    task.render_template_fields({"params": values})
    assert task.poke(FIRST).xcom_value == {**version, "aliases": ["champion"]}


@pytest.mark.parametrize("limit", ["None", "nan", [1]])
def test_a_limit_that_is_no_number_after_rendering_ends_the_wait(limit):
    with pytest.raises(AirflowFailException, match=re.escape(f"at_most must be a number, not {limit!r}")):
        wait(name="m", version=1, metric="rmse", at_most=limit)


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("field", ["name", "version", "alias", "metric", "at_least", "at_most"])
def test_a_condition_that_comes_out_empty_is_not_taken_for_none(field, empty):
    values = {"name": "m", "version": 1, "alias": "champion", "metric": "rmse", "at_least": 1, "at_most": 1.3}
    task = sensor(**values)
    setattr(task, field, empty)  # as Airflow does with what a template or an XCom gives
    with pytest.raises(AirflowFailException, match=f"^{field} came out empty"):
        task.poke(FIRST)


@pytest.mark.parametrize(
    "arguments", [{}, {"version": 1, "metric": "rmse"}, {"version": 1, "at_most": 1}, {"metric": "rmse", "at_most": 1}]
)
def test_a_sensor_that_does_not_know_what_to_wait_for_is_an_error_in_the_dag(arguments):
    with pytest.raises(ValueError, match="give "):
        sensor(name="m", **arguments)


@pytest.mark.parametrize("default", ["True", "False"])
def test_it_is_deferrable_if_airflow_is_configured_so(default):
    code = (
        "from include.mlflow_provider.sensors.model_version import MLflowModelVersionSensor as Sensor;"
        "print(Sensor(task_id='wait', name='m', version=1).deferrable)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": default},
        cwd=Path(provider.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == default
