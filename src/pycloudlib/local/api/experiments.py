"""AWS FIS: experiments that interrupt spot instances, and disrupt the connectivity of subnets.

moto records templates and experiments.

https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from pycloudlib.local.api.experiment_templates import (
    ACTIONS,
    DISRUPT,
    INTERRUPT,
    check_actions,
    check_stop_conditions,
    duration_of,
    invalid,
    parameters_of,
    scope_of,
    selected_count,
    wait_of,
)
from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import (
    FISBackend,
    ServiceException,
    install_experiments,
    regional_backends,
    set_experiment_state,
    urls_of,
)


class LocalExperiments(FISBackend):
    """The experiments of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._disruptions: dict[str, dict[str, list[str]]] = {}
        self._timers: dict[tuple[str, str], threading.Timer] = {}
        self._last_interruptions: dict[str, datetime] = {}
        super().__init__(region_name, account_id)

    @property
    def _url_module(self) -> Any:
        return urls_of("fis")

    def create_experiment_template(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Create a template, rejecting unsupported actions and members (CreateExperimentTemplate)."""
        for name in ("log_configuration", "experiment_options", "experiment_report_configuration"):
            if kwargs.get(name):
                raise invalid(f"The local EC2 does not have {name.replace('_', ' ')}s of experiments")
        check_stop_conditions(kwargs.get("stop_conditions") or [])
        check_actions(kwargs.get("actions") or {}, kwargs.get("targets") or {})
        return super().create_experiment_template(*args, **kwargs)

    def start_experiment(
        self,
        client_token: str | None,
        experiment_template_id: str,
        experiment_options: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Start an experiment, which schedules interruptions, and disrupts connectivity (StartExperiment).

        A repeated client token returns the experiment that it started.
        """
        if (experiment_options or {}).get("actionsMode", "run-all") != "run-all":
            raise invalid("The local EC2 does not have the actionsMode 'skip-all' of experiments")
        with LocalRecords.cloud.lock:
            earlier = set(self.experiments)
            started = super().start_experiment(client_token, experiment_template_id, experiment_options, tags)
            if started["id"] not in earlier:
                self._start(self.experiments[started["id"]])
        return started

    def list_experiments(self, *args: Any, **kwargs: Any) -> Any:
        """Return the experiments (ListExperiments)."""
        self._complete_interruptions()
        return super().list_experiments(*args, **kwargs)

    def get_experiment(self, id: str) -> dict[str, Any]:  # noqa: A002  (moto's name)
        """Return an experiment (GetExperiment)."""
        self._complete_interruptions()
        return super().get_experiment(id)

    def stop_experiment(self, id: str) -> dict[str, Any]:  # noqa: A002  (moto's name)
        """Stop an experiment, which restores the connectivity of its subnets (StopExperiment).

        Interruptions of spot instances go on, as on AWS.
        """
        with LocalRecords.cloud.lock:
            self._complete_interruptions()
            stopped = super().stop_experiment(id)
            self._last_interruptions.pop(id, None)
            for name in list(self._disruptions.get(id, ())):
                self._restore(id, name)
        return stopped

    def _start(self, experiment: Any) -> None:
        """Start all actions of an experiment, or none."""
        records = regional_backends(self.account_id)[self.region_name]
        waits: dict[str, timedelta] = {}
        subnets: dict[str, Any] = {}
        disruptions: dict[str, list[Any]] = {}
        try:
            for name, action in experiment.actions.items():
                target = experiment.targets[action["targets"][ACTIONS[action["actionId"]].target_key]]
                if action["actionId"] == INTERRUPT:
                    self._add_interruptions(records, target, action, waits)
                else:
                    disruptions[name] = self._find_subnets(records, target, action, subnets)
        except ServiceException as error:
            set_experiment_state(experiment, "failed")
            raise invalid(error.message or "") from error
        set_experiment_state(experiment, "running")
        ends = [
            records.interrupt_spot_instance(records.controllers[instance_id].instance, wait).ends
            for instance_id, wait in waits.items()
        ]
        if ends:
            self._last_interruptions[experiment.id] = max(ends)
        for name, disrupted in disruptions.items():
            self._disrupt(records, experiment, name, disrupted)

    def _add_interruptions(
        self, records: Any, target: Mapping[str, Any], action: Mapping[str, Any], waits: dict[str, timedelta]
    ) -> None:
        instances = [controller.instance for controller in records.controllers.values()]
        running = [instance for instance in instances if instance.is_spot and instance.state == "running"]
        for instance in self._resolve("instance", running, target):
            records.check_interruptible(instance)
            if instance.id in waits:
                raise invalid(f"The instance '{instance.id}' is a target of two actions")
            waits[instance.id] = wait_of(parameters_of(action))

    def _find_subnets(
        self, records: Any, target: Mapping[str, Any], action: Mapping[str, Any], taken: dict[str, Any]
    ) -> list[Any]:
        if LocalRecords.cloud.driver.faults is None:
            raise invalid(
                f"{DISRUPT} needs the namespaces network: start the local EC2 with `--network namespaces`. Without it, "
                "packets do not obey network ACLs"
            )
        parameters = parameters_of(action)
        subnets = [subnet for of_zone in records.subnets.values() for subnet in of_zone.values()]
        selected = self._resolve("subnet", subnets, target)
        for subnet in selected:
            records.check_disruptable(subnet, scope_of(parameters), parameters.get("prefixListIdentifier", ""))
            if subnet.id in taken:
                raise invalid(f"The subnet '{subnet.id}' is a target of two actions")
            taken[subnet.id] = subnet
        return selected

    def _disrupt(self, records: Any, experiment: Any, name: str, subnets: list[Any]) -> None:
        parameters = parameters_of(experiment.actions[name])
        for subnet in subnets:
            records.disrupt_connectivity(subnet, scope_of(parameters), parameters.get("prefixListIdentifier", ""))
        self._disruptions.setdefault(experiment.id, {})[name] = [subnet.id for subnet in subnets]
        timer = threading.Timer(duration_of(parameters).total_seconds(), self._end, (experiment.id, name))
        timer.daemon = True
        self._timers[experiment.id, name] = timer
        timer.start()

    def _end(self, experiment_id: str, name: str) -> None:
        """End the disruption of one action, and the experiment with the last one."""
        with LocalRecords.cloud.lock:
            experiment = self.experiments.get(experiment_id)
            if not self._restore(experiment_id, name) or experiment is None:
                return
            if experiment_id not in self._disruptions and experiment_id not in self._last_interruptions:
                set_experiment_state(experiment, "completed")

    def _complete_interruptions(self) -> None:
        """Complete the experiments whose last interruption and last disruption have ended."""
        now = datetime.now(timezone.utc)
        with LocalRecords.cloud.lock:
            for experiment_id, end in list(self._last_interruptions.items()):
                if now < end:
                    continue
                del self._last_interruptions[experiment_id]
                if experiment_id not in self._disruptions:
                    set_experiment_state(self.experiments[experiment_id], "completed", end)

    def _restore(self, experiment_id: str, name: str) -> bool:
        """Restore the subnets of an action. Returns whether they were still disrupted by it."""
        actions = self._disruptions.get(experiment_id, {})
        if name not in actions:
            return False
        self._timers.pop((experiment_id, name)).cancel()
        records = regional_backends(self.account_id)[self.region_name]
        for subnet_id in actions.pop(name):
            records.restore_connectivity(subnet_id)
        if not actions:
            del self._disruptions[experiment_id]
        return True

    def _resolve(self, noun: str, candidates: list[Any], target: Mapping[str, Any]) -> list[Any]:
        """Return the resources that a target selects."""
        if target.get("resourceArns"):
            prefix = f"arn:{self.partition}:ec2:{self.region_name}:{self.account_id}:{noun}/"
            matching = [resource for resource in candidates if f"{prefix}{resource.id}" in target["resourceArns"]]
        else:
            tags = target["resourceTags"].items()
            matching = [resource for resource in candidates if tags <= _tags(resource).items()]
        selected = matching[: selected_count(target["selectionMode"], len(matching))]
        if not selected:
            raise invalid("Target resolution returned empty set")
        return selected


def install() -> None:
    """Replace moto's FIS with the local one. Call it before the first use of FIS in this process."""
    install_experiments(LocalExperiments)


def _tags(record: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in record.get_tags()}
