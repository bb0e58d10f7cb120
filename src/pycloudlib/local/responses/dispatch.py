"""Every action's way through the local EC2."""

from __future__ import annotations

import logging
from typing import Any

from botocore.model import OperationModel, OperationNotFoundError
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores, get_service_model
from moto.ec2.exceptions import DryRunClientError, EC2ClientError

from pycloudlib.local.backend import LocalEC2Backend, known_regions
from pycloudlib.local.responses.addresses import AddressResponse
from pycloudlib.local.responses.images import ImageResponse
from pycloudlib.local.responses.instances import InstanceResponse
from pycloudlib.local.responses.interfaces import InterfaceResponse
from pycloudlib.local.responses.key_pairs import KeyPairResponse
from pycloudlib.local.responses.launch_checks import check_launch
from pycloudlib.local.responses.pages import page
from pycloudlib.local.responses.regions import RegionResponse
from pycloudlib.local.responses.request_checks import check
from pycloudlib.local.responses.security_groups import SecurityGroupResponse
from pycloudlib.local.responses.snapshots import SnapshotResponse
from pycloudlib.local.responses.tags import TagResponse
from pycloudlib.local.responses.value_checks import check_values
from pycloudlib.local.responses.volumes import VolumeResponse

logger = logging.getLogger(__name__)

_STATUS = {"DryRunOperation": 412, "InternalError": 500}
_NOT_OF_THE_REQUEST = {"ClientToken", "PresignedUrl"}
"""What differs between two requests for the same thing."""


class LocalEC2Response(
    RegionResponse,
    TagResponse,
    KeyPairResponse,
    SecurityGroupResponse,
    InterfaceResponse,
    AddressResponse,
    InstanceResponse,
    ImageResponse,
    SnapshotResponse,
    VolumeResponse,
):
    """Answers EC2's actions, one at a time: moto's records have no lock of their own."""

    @classmethod
    def dispatch(cls, *args: Any, **kwargs: Any) -> Any:
        """Answer a request."""
        with LocalEC2Backend.cloud.lock:
            return super().dispatch(*args, **kwargs)

    def _dispatch(self, request: Any, full_url: str | None = None, headers: Any = None) -> Any:
        try:
            self.setup_class(request, full_url, headers)
        except OperationNotFoundError:
            return self._refuse("InvalidAction", f"The action {self._get_action()} is not valid for this web service.")
        except ValueError as error:
            return self._refuse("InvalidParameterValue", f"A parameter has no valid value: {error}")
        return self.call_action()

    def call_action(self) -> Any:
        """Answer an action, or say in EC2's way why not."""
        action = self._get_action()
        logger.info("%s %s", self.region, action)
        try:
            self._check_action(action)
            return self._checked(get_service_model("ec2").operation_model(action))
        except EC2ClientError as error:
            return self._refuse(error.code, error.message)
        except NotImplementedError as error:
            logger.info("%s", error)
            return self._refuse("UnsupportedOperation", f"The local EC2 does not have this {self._wish(action)} yet")
        except Exception:
            # A fault of this program or of moto: a client expects EC2's InternalError, and no page of HTML.
            logger.exception("%s failed", action)
            return self._refuse("InternalError", f"The local EC2 failed at {action}; its log says how")

    def serialized(self, action_result: ActionResult) -> Any:
        """Write an answer, or the page of it that was asked for."""
        if isinstance(action_result.result, Exception):
            return super().serialized(action_result)
        return super().serialized(ActionResult(page(self._get_action(), action_result.result, self.params)))

    def _check_action(self, action: str) -> None:
        if not action:
            raise EC2ClientError("MissingAction", "The request must contain the parameter Action")
        if self.region not in known_regions():
            raise EC2ClientError("InvalidParameterValue", f"There is no region '{self.region}'")
        if not hasattr(self, camelcase_to_underscores(action)):
            raise EC2ClientError("UnsupportedOperation", f"The local EC2 does not have {action} yet")

    def _checked(self, operation: OperationModel) -> Any:
        check(operation, self.params)
        check_values(operation, self.params)
        if operation.name == "RunInstances":
            check_launch(self.ec2_backend, self.params)
        if self.params.get("DryRun"):
            raise DryRunClientError
        token = self.params.get("ClientToken")
        if not token:
            return super().call_action()
        parameters = {name: value for name, value in self.data.items() if name not in _NOT_OF_THE_REQUEST}
        answered = self.ec2_backend.answered(operation.name, token, parameters)
        if answered is not None:
            return answered
        response = super().call_action()
        if response[0] < 300:  # noqa: PLR2004  (HTTP: it succeeded)
            self.ec2_backend.remember(operation.name, token, parameters, response)
        return response

    def _wish(self, action: str) -> str:
        names = [str(given.get("Name")) for given in self.params.get("Filters") or []]
        return f"{action} with the filters {', '.join(names)}" if names else f"use of {action}"

    def _refuse(self, code: str, reason: str) -> tuple[int, dict[str, Any], Any]:
        status, headers, body = self.serialized(ActionResult(EC2ClientError(code, reason)))
        return _STATUS.get(code, status), headers, body
