"""AWS FIS: experiments that interrupt spot instances. moto records templates and experiments.

https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.models.instance import LocalInstance
from pycloudlib.local.api.models.spot_interruptions import LEAST_WAIT
from pycloudlib.local.api.moto_adapter import (
    FISBackend,
    JsonRESTError,
    ServiceException,
    install_experiments,
    regional_backends,
    urls_of,
)

ACTION = "aws:ec2:send-spot-instance-interruptions"
TARGET_KEY = "SpotInstances"
RESOURCE_TYPE = "aws:ec2:spot-instance"
MOST_WAIT = timedelta(minutes=15)

_MINUTES = re.compile(r"PT([0-9]{1,2})M")
_SELECTION = re.compile(r"ALL|(?P<kind>COUNT|PERCENT)\((?P<number>[1-9][0-9]{0,5})\)")
_ALL = 100
"""Percent."""
_TARGET_MEMBERS = {"resourceType", "resourceArns", "resourceTags", "selectionMode"}


class LocalExperiments(FISBackend):
    """The experiments of one account in one region."""

    @property
    def _url_module(self) -> Any:
        return urls_of("fis")

    def create_experiment_template(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Create a template, rejecting unsupported actions and members (CreateExperimentTemplate)."""
        for name in ("log_configuration", "experiment_options", "experiment_report_configuration"):
            if kwargs.get(name):
                raise _invalid(f"The local EC2 does not have {name.replace('_', ' ')}s of experiments")
        _check_stop_conditions(kwargs.get("stop_conditions") or [])
        _check_actions(kwargs.get("actions") or {}, kwargs.get("targets") or {})
        return super().create_experiment_template(*args, **kwargs)

    def start_experiment(
        self,
        client_token: str | None,
        experiment_template_id: str,
        experiment_options: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Start an experiment, which schedules the interruptions (StartExperiment).

        A repeated client token returns the experiment that it started.
        """
        if (experiment_options or {}).get("actionsMode", "run-all") != "run-all":
            raise _invalid("The local EC2 does not have the actionsMode 'skip-all' of experiments")
        with LocalRecords.cloud.lock:
            known = set(self.experiments)
            started = super().start_experiment(client_token, experiment_template_id, experiment_options, tags)
            if started["id"] not in known:
                self._interrupt(self.experiments[started["id"]])
        return started

    def list_experiments(self, *args: Any, **kwargs: Any) -> Any:
        """Return the experiments (ListExperiments)."""
        for experiment in self.experiments.values():
            experiment.advance()
        return super().list_experiments(*args, **kwargs)

    def _interrupt(self, experiment: Any) -> None:
        """Interrupt all instances of an experiment, or none."""
        records = regional_backends(self.account_id)[self.region_name]
        waits: dict[str, timedelta] = {}
        try:
            for action in experiment.actions.values():
                for instance in self._resolve(records, experiment.targets[action["targets"][TARGET_KEY]]):
                    records.check_interruptible(instance)
                    if instance.id in waits:
                        raise _invalid(f"The instance '{instance.id}' is a target of two actions")
                    waits[instance.id] = _wait(action)
        except ServiceException as error:
            experiment.status = "failed"
            raise _invalid(error.message or "") from error
        for instance_id, wait in waits.items():
            records.interrupt_spot_instance(records.controllers[instance_id].instance, wait)

    def _resolve(self, records: Any, target: Mapping[str, Any]) -> list[LocalInstance]:
        instances = [controller.instance for controller in records.controllers.values()]
        running = [one for one in instances if one.is_spot and one.state == "running"]
        if target.get("resourceArns"):
            prefix = f"arn:{self.partition}:ec2:{self.region_name}:{self.account_id}:instance/"
            found = [one for one in running if f"{prefix}{one.id}" in target["resourceArns"]]
        else:
            tags = target["resourceTags"].items()
            found = [one for one in running if tags <= {tag["key"]: tag["value"] for tag in one.get_tags()}.items()]
        selected = found[: _count(target["selectionMode"], len(found))]
        if not selected:
            raise _invalid("Target resolution returned empty set")
        return selected


def install() -> None:
    """Replace moto's FIS with the local one. Call it before the first use of FIS in this process."""
    install_experiments(LocalExperiments)


def _check_stop_conditions(conditions: list[Mapping[str, Any]]) -> None:
    for condition in conditions:
        if condition.get("source") != "none":
            raise _invalid("The local EC2 has no stop condition but the source 'none'")


def _check_actions(actions: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
    if not actions:
        raise _invalid("An experiment template needs an action")
    for name, action in actions.items():
        if action.get("actionId") != ACTION:
            raise _invalid(f"The local EC2 does not have the action {action.get('actionId')}; it has {ACTION}")
        if action.get("startAfter") or set(action.get("parameters") or {}) - {"durationBeforeInterruption"}:
            raise _invalid(f"The action {name} may have the parameter durationBeforeInterruption only")
        _wait(action)
        if set(action.get("targets") or {}) != {TARGET_KEY}:
            raise _invalid(f"The action {name} has a target {TARGET_KEY}, and no other")
        target = targets.get(action["targets"][TARGET_KEY])
        if target is None:
            raise _invalid(f"The target {action['targets'][TARGET_KEY]} of the action {name} does not exist")
        _check_target(target)
    unused = sorted(set(targets) - {action["targets"][TARGET_KEY] for action in actions.values()})
    if unused:
        raise _invalid(f"No action has the target {', '.join(unused)}")


def _check_target(target: Mapping[str, Any]) -> None:
    if target.get("resourceType") != RESOURCE_TYPE:
        raise _invalid(f"Invalid resource type '{target.get('resourceType')}'; expected {RESOURCE_TYPE}")
    unknown = sorted(name for name, value in target.items() if value and name not in _TARGET_MEMBERS)
    if unknown:
        raise _invalid(f"The local EC2 does not have {', '.join(unknown)} of targets")
    if bool(target.get("resourceArns")) == bool(target.get("resourceTags")):
        raise _invalid("A target needs resourceArns or resourceTags")
    selection = _SELECTION.fullmatch(str(target.get("selectionMode")))
    if selection is None or (selection["kind"] == "PERCENT" and int(selection["number"]) > _ALL):
        raise _invalid(f"Invalid selection mode '{target.get('selectionMode')}'")


def _wait(action: Mapping[str, Any]) -> timedelta:
    text = str((action.get("parameters") or {}).get("durationBeforeInterruption") or "PT2M")
    found = _MINUTES.fullmatch(text)
    wait = timedelta(minutes=int(found[1])) if found else timedelta()
    if not LEAST_WAIT <= wait <= MOST_WAIT:
        raise _invalid(f"durationBeforeInterruption is '{text}'; it must be from PT2M to PT15M")
    return wait


def _count(selection_mode: str, found: int) -> int:
    """Return how many of the found targets a selection mode selects."""
    selection = _SELECTION.fullmatch(selection_mode)
    if selection is None or selection["kind"] is None:
        return found
    number = int(selection["number"])
    return number if selection["kind"] == "COUNT" else math.floor(found * number / _ALL)


def _invalid(reason: str) -> JsonRESTError:
    return JsonRESTError("ValidationException", reason)
