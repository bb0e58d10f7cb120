"""The dispatcher of EC2's actions: validation, execution, filters, pagination, and serialization."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from botocore.model import OperationModel, OperationNotFoundError

from pycloudlib.local.api.audit import ActionAudit, audit_of, check_choices, check_members
from pycloudlib.local.api.filters import Matches, matcher, parse_filters
from pycloudlib.local.api.http_messages import ClientGoneError, error_document, require_client
from pycloudlib.local.api.launch_checks import check_launch
from pycloudlib.local.api.models.base import LocalRecords, known_regions
from pycloudlib.local.api.moto_adapter import (
    ActionResult,
    DryRunClientError,
    EC2ClientError,
    ServiceException,
    camelcase_to_underscores,
    fixed_transforms,
    get_service_model,
)
from pycloudlib.local.api.pagination import page
from pycloudlib.local.api.query import parse_query
from pycloudlib.local.api.request_checks import check, check_ids
from pycloudlib.local.api.responses.account import AccountResponse
from pycloudlib.local.api.responses.addresses import AddressResponse
from pycloudlib.local.api.responses.dhcp_options import DhcpOptionsResponse
from pycloudlib.local.api.responses.gateways import GatewayResponse
from pycloudlib.local.api.responses.images import ImageResponse
from pycloudlib.local.api.responses.instance_attributes import InstanceAttributeResponse
from pycloudlib.local.api.responses.instance_profiles import InstanceProfileResponse
from pycloudlib.local.api.responses.instance_types import InstanceTypeResponse
from pycloudlib.local.api.responses.instances import InstanceResponse
from pycloudlib.local.api.responses.interfaces import InterfaceResponse
from pycloudlib.local.api.responses.key_pairs import KeyPairResponse
from pycloudlib.local.api.responses.launch_templates import LaunchTemplateResponse
from pycloudlib.local.api.responses.network_acls import NetworkAclResponse
from pycloudlib.local.api.responses.placement_groups import PlacementGroupResponse
from pycloudlib.local.api.responses.prefix_lists import PrefixListResponse
from pycloudlib.local.api.responses.regions import RegionResponse
from pycloudlib.local.api.responses.root_volumes import RootVolumeResponse
from pycloudlib.local.api.responses.security_groups import SecurityGroupResponse
from pycloudlib.local.api.responses.snapshots import SnapshotResponse
from pycloudlib.local.api.responses.spot_requests import SpotRequestResponse
from pycloudlib.local.api.responses.tags import TagResponse
from pycloudlib.local.api.responses.volumes import VolumeResponse
from pycloudlib.local.api.responses.vpcs import VpcResponse
from pycloudlib.local.api.result_reader import reader_of
from pycloudlib.local.api.serializer import CONTENT_TYPE, head, replace_request_id, rest
from pycloudlib.local.api.value_checks import check_values

logger = logging.getLogger(__name__)

MAX_REASON = 2000
"""The maximum length of an error message in characters."""

_READS = ("Describe", "Get")
"""The name prefixes of read-only actions."""
_LISTING = {"DescribeInstances"}
"""Actions that share responses between requests without ids: their responses depend only on the records."""
_REFUSED = 400
_STATUS = {"DryRunOperation": 412, "InternalError": 500}
_NOT_OF_THE_REQUEST = {"ClientToken", "PresignedUrl"}
"""Members that may differ between two requests with the same client token."""


class LocalEC2Response(
    RegionResponse,
    TagResponse,
    DhcpOptionsResponse,
    NetworkAclResponse,
    PrefixListResponse,
    KeyPairResponse,
    SecurityGroupResponse,
    InterfaceResponse,
    AddressResponse,
    GatewayResponse,
    AccountResponse,
    LaunchTemplateResponse,
    PlacementGroupResponse,
    SpotRequestResponse,
    InstanceTypeResponse,
    InstanceAttributeResponse,
    InstanceProfileResponse,
    InstanceResponse,
    ImageResponse,
    RootVolumeResponse,
    SnapshotResponse,
    VolumeResponse,
    VpcResponse,
):
    """Handles EC2's actions.

    One request at a time reads or changes the records, since moto's records have no lock of their own. Parsing and
    serialization take place outside the lock.
    """

    RESPONSE_KEY_PATH_TO_TRANSFORMER = fixed_transforms()  # type: ignore[assignment]  # moto's can be added to

    def __init__(self) -> None:
        super().__init__()
        self._request_id = str(uuid4())
        self.filters: Mapping[str, Sequence[str]] = {}
        self.matchers: Mapping[str, Matches] = {}

    def _dispatch(self, request: Any, full_url: str | None = None, headers: Any = None) -> Any:
        try:
            self.setup_class(request, full_url, headers)
        except OperationNotFoundError:
            return self._refuse("InvalidAction", f"The action {self._get_action()} is not valid for this web service.")
        except EC2ClientError as error:
            return self._refuse(error.code, error.message)
        return self.call_action()

    def parse_parameters(self, request: Any) -> None:
        """Parse the parameters of the request, by botocore's names.

        Raises:
            EC2ClientError: a parameter is unknown, invalid, or repeated.
        """
        operation = get_service_model("ec2").operation_model(self._get_action())
        for name, values in request.values.lists():
            if len(values) > 1:
                raise EC2ClientError("InvalidParameterValue", f"The parameter {name} is given {len(values)} times")
        self.params = parse_query(operation, request.values.to_dict())

    def call_action(self) -> Any:
        """Handle an action, and return its response or an EC2 error response."""
        action = self._get_action()
        logger.info("%s %s", self.region, action)
        try:
            self._check_action(action)
            return self._checked(get_service_model("ec2").operation_model(action))
        except ServiceException as error:
            return self._refuse(error.code, error.message)
        except ClientGoneError as error:
            logger.info("gave up %s: %s", action, error)
            raise
        except NotImplementedError as error:
            logger.info("%s", error)
            return self._refuse("UnsupportedOperation", f"The local EC2 does not have this use of {action} yet")
        except Exception:
            # A bug here or in moto: clients expect EC2's InternalError, not a page of HTML.
            logger.exception("%s failed", action)
            return self._refuse("InternalError", f"The local EC2 failed at {action}; its log says how")

    def _enrich_response(self, headers: dict[str, Any], body: Any) -> tuple[dict[str, Any], Any]:  # type: ignore[override]
        return {**headers, "x-amzn-requestid": self._request_id}, body

    def _check_action(self, action: str) -> None:
        if not action:
            raise EC2ClientError("MissingAction", "The request must contain the parameter Action")
        if self.region not in known_regions():
            raise EC2ClientError("InvalidParameterValue", f"There is no region '{self.region}'")
        if audit_of(action) is None:
            raise EC2ClientError("UnsupportedOperation", f"The local EC2 does not have {action} yet")

    def _checked(self, operation: OperationModel) -> Any:
        audit = audit_of(operation.name)
        assert audit is not None  # noqa: S101  (_check_action refuses the others)
        check_members(operation, audit, self.params)
        if operation.name == "RunInstances":
            check_ids(operation.name, self.params.get("LaunchTemplate") or {})
            with LocalRecords.cloud.lock.reading():
                self.params = self.ec2_backend.launch_parameters(self.params)
        check(operation, self.params)
        check_choices(audit, self.params)
        check_values(operation, self.params)
        self.filters = parse_filters(operation.name, audit, self.params)
        self.matchers = self._matchers(operation, audit)
        token = self.params.get("ClientToken")
        if token:
            with LocalRecords.cloud.lock:
                return self._respond_idempotently(operation, audit, token)
        if operation.name in _LISTING and not self.params.get("InstanceIds"):
            return self._respond_shared(operation, audit)
        with self._lock_for(operation):
            plain = self._perform(operation, audit)
        return self._respond(operation, plain)

    @contextmanager
    def _lock_for(self, operation: OperationModel) -> Iterator[None]:
        """Hold the records lock; a read-only action also requires that the client still waits."""
        lock = LocalRecords.cloud.lock
        if not operation.name.startswith(_READS):
            with lock:
                yield
            return
        with lock.reading():
            self._require_client()
            yield

    def _require_client(self) -> None:
        require_client(self.normalized_request.environ)

    def _respond_idempotently(self, operation: OperationModel, audit: ActionAudit, token: str) -> Any:
        """Handle a request with a client token: a repeated request gets the original response."""
        parameters = {name: value for name, value in self.data.items() if name not in _NOT_OF_THE_REQUEST}
        cached = self.ec2_backend.cached_response(operation.name, token, parameters)
        if cached is not None and not self.params.get("DryRun"):
            status, headers, body = cached
            headers, body = self._enrich_response(headers, replace_request_id(body, self._request_id))
            return status, headers, body
        response = self._respond(operation, self._perform(operation, audit))
        self.ec2_backend.remember(operation.name, token, parameters, response)
        return response

    def _perform(self, operation: OperationModel, audit: ActionAudit) -> dict[str, Any]:
        """Read or change the records. Call it with the records lock held."""
        if operation.name == "RunInstances":
            check_launch(self.ec2_backend, self.params)
        if self.params.get("DryRun"):
            raise DryRunClientError
        parameters = self.params
        # Handlers return all records: filters are applied to the response.
        self.params = {name: value for name, value in parameters.items() if name not in ("Filter", "Filters")}
        response = getattr(self, camelcase_to_underscores(operation.name))()
        self.params = parameters
        if not isinstance(response, ActionResult):
            raise NotImplementedError(f"the handler of {operation.name} returned {type(response).__name__}")
        if operation.output_shape is None:
            return {}
        result: Any = response.result or {}
        if audit.items in self.matchers and "." not in audit.items:
            matches = self.matchers[audit.items]
            result = {**result, audit.items: [record for record in result[audit.items] if matches(record)]}
        plain: dict[str, Any] = reader_of(operation, type(self)).plain(result)
        return plain

    def _matchers(self, operation: OperationModel, audit: ActionAudit) -> dict[str, Matches]:
        """Return a predicate for the requested records, by the member of the response that holds them."""
        if not self.filters:
            return {}
        reader = reader_of(operation, type(self))
        matchers: dict[str, Matches] = {}
        path = ""
        for member in audit.items.split("."):
            path = f"{path}.{member}".lstrip(".")
            reader = reader.member(member)[0].element()
            filters = {name: values for name, values in self.filters.items() if audit.filter_place(name) == path}
            if filters:
                matchers[path] = matcher(audit, reader, filters)
        return matchers

    def _respond(self, operation: OperationModel, plain: dict[str, Any]) -> tuple[int, dict[str, Any], Any]:
        """Serialize the response, or the requested page of it."""
        body = self._head(operation) + self._rest(operation, plain)
        headers, body = self._enrich_response({**self.response_headers, "Content-Type": CONTENT_TYPE}, body)
        return 200, headers, body

    def _respond_shared(self, operation: OperationModel, audit: ActionAudit) -> tuple[int, dict[str, Any], Any]:
        """Serialize a response whose second part other requests share."""
        parameters = json.dumps(self.params, sort_keys=True, default=str)
        rest_of_body = LocalRecords.cloud.shared_responses.body(
            (self.current_account, self.region, operation.name, parameters),
            read=lambda: self._perform(operation, audit),
            serialize=lambda plain: self._rest(operation, plain).encode(),
            require_client=self._require_client,
        )
        parts = [self._head(operation).encode(), rest_of_body]
        headers, body = self._enrich_response({**self.response_headers, "Content-Type": CONTENT_TYPE}, parts)
        return 200, headers, body

    def _head(self, operation: OperationModel) -> str:
        return head(operation, request_id=self._request_id, version=self.querystring.get("Version", [None])[0])

    def _rest(self, operation: OperationModel, plain: dict[str, Any]) -> str:
        return rest(operation, page(operation.name, plain, self.params))

    def _refuse(self, code: str, reason: str) -> tuple[int, dict[str, Any], Any]:
        body = error_document(code, reason[:MAX_REASON], self._request_id)
        headers, body = self._enrich_response({**self.response_headers, "Content-Type": CONTENT_TYPE}, body)
        return _STATUS.get(code, _REFUSED), headers, body
