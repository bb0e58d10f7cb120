"""Canaries: one test for each of moto's internals that the adapter touches."""

from __future__ import annotations

import inspect
import ipaddress
from datetime import datetime, timezone
from typing import Any

import pytest
from moto import backends
from moto.core import responses
from moto.core.base_backend import BackendDict
from moto.core.utils import convert_to_flask_response
from moto.ec2.models import EC2Backend, ec2_backends, vpcs
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.models.subnets import Subnet, SubnetBackend
from moto.ec2.responses import EC2Response
from moto.fis.models import FISBackend
from moto.fis.responses import FISResponse
from moto.iam.exceptions import IAMException
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse
from moto.moto_api import recorder
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.ssm.models import SimpleSystemManagerBackend
from moto.ssm.responses import SimpleSystemManagerResponse
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse
from werkzeug.test import EnvironBuilder

from pycloudlib.local.api import moto_adapter
from support.services import TRUST

ACCOUNT, REGION = "123456789012", "us-east-1"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> EC2Backend:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    return EC2Backend(REGION, ACCOUNT)


@pytest.fixture
def subnet(backend: EC2Backend) -> Subnet:
    vpc = backend.create_vpc("10.1.0.0/16")
    return backend.create_subnet(vpc.id, "10.1.1.0/24", availability_zone=f"{REGION}a")


@pytest.fixture
def _restored_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((backends, "list_of_moto_modules"), (responses, "method_names_from_class")):
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.usefixtures("_restored_lookups")
def test_cache_lookups_keeps_motos_results() -> None:
    moto_adapter.cache_lookups()
    names = responses.method_names_from_class(EC2Response)
    assert {"run_instances", "describe_images"} <= set(names)
    assert responses.method_names_from_class(EC2Response) is names
    assert {"ec2", "sns", "sts"} <= set(backends.list_of_moto_modules())
    assert backends.list_of_moto_modules() is backends.list_of_moto_modules()


def test_moto_looks_up_by_the_cached_names() -> None:
    dispatch = DomainDispatcherApplication.get_backend_for_host.__code__
    assert {"backends", "list_of_moto_modules"} <= set(dispatch.co_names)
    assert "method_names_from_class" in responses.BaseResponse.call_action.__code__.co_names


def test_ipv6_blocks_are_drawn_in_canonical_form(backend: EC2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpcs, "random_ipv6_cidr", lambda: "2400:6500:0012:0300::/56")
    moto_adapter.draw_canonical_ipv6_blocks()
    vpc = backend.create_vpc("10.1.0.0/16", amazon_provided_ipv6_cidr_block=True)
    (association,) = vpc.get_cidr_block_association_set(ipv6=True)
    assert association["cidr_block"] == "2400:6500:12:300::/56"


def test_install_backend_replaces_motos_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(EC2Backend):
        pass

    fresh: Any = BackendDict(EC2Backend, "ec2")
    monkeypatch.setattr(moto_adapter, "ec2_backends", fresh)
    moto_adapter.install_backend(Local)
    assert isinstance(fresh[ACCOUNT][REGION], Local)


def test_existing_backends_are_those_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    fresh: Any = BackendDict(EC2Backend, "ec2")
    monkeypatch.setattr(moto_adapter, "ec2_backends", fresh)
    assert moto_adapter.existing_backends() == []
    used = [fresh[ACCOUNT][REGION], fresh["999999999999"]["eu-west-1"]]
    assert moto_adapter.existing_backends() == used


def test_install_parameter_store_replaces_motos_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(SimpleSystemManagerBackend):
        pass

    fresh: Any = BackendDict(SimpleSystemManagerBackend, "ssm")
    monkeypatch.setattr(moto_adapter, "ssm_backends", fresh)
    moto_adapter.install_parameter_store(Local)
    assert isinstance(moto_adapter.parameter_store(ACCOUNT, REGION), Local)
    assert "ssm_backends" in inspect.getsource(SimpleSystemManagerResponse.ssm_backend.fget)


def test_install_experiments_replaces_motos_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(FISBackend):
        pass

    fresh: Any = BackendDict(FISBackend, "fis", use_boto3_regions=False, additional_regions=[REGION])
    monkeypatch.setattr(moto_adapter, "fis_backends", fresh)
    moto_adapter.install_experiments(Local)
    assert isinstance(fresh[ACCOUNT][REGION], Local)
    assert "fis_backends" in inspect.getsource(FISResponse.fis_backend.fget)


def test_install_roles_replaces_motos_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(IAMBackend):
        pass

    fresh: Any = BackendDict(IAMBackend, "iam", use_boto3_regions=False, additional_regions=["aws"])
    monkeypatch.setattr(moto_adapter, "iam_backends", fresh)
    moto_adapter.install_roles(Local)
    assert isinstance(fresh[ACCOUNT]["aws"], Local)
    assert "iam_backends" in inspect.getsource(IamResponse.backend.fget)


def test_urls_of_a_service_lead_to_its_response_class() -> None:
    module = moto_adapter.urls_of("ssm")
    assert list(module.url_paths.values()) == [SimpleSystemManagerResponse.dispatch]
    assert module.url_bases


def test_instance_profiles_are_found_by_name_and_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh: Any = BackendDict(IAMBackend, "iam", use_boto3_regions=False, additional_regions=["aws", "aws-cn"])
    monkeypatch.setattr(moto_adapter, "iam_backends", fresh)
    profile = fresh[ACCOUNT]["aws"].create_instance_profile("web", "/", [])
    assert moto_adapter.find_instance_profile(ACCOUNT, REGION, name="web") is profile
    assert moto_adapter.find_instance_profile(ACCOUNT, REGION, arn=profile.arn) is profile
    assert moto_adapter.find_instance_profile(ACCOUNT, REGION, name="db") is None
    assert moto_adapter.find_instance_profile(ACCOUNT, "cn-north-1", name="web") is None


def test_assumed_roles_are_found_by_their_access_key() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/reader"
    role = moto_adapter.assume_role(ACCOUNT, REGION, role_arn=arn, session_name="i-1", seconds=900)
    assert moto_adapter.assumed_role(role.access_key_id) is role
    assert moto_adapter.assumed_role("ASIA0000000000000000") is None
    assert role.session_token
    assert role.expiration.tzinfo is None
    assert role.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/i-1"


def test_sessions_of_a_role_end() -> None:
    first, second = (
        moto_adapter.assume_role(
            ACCOUNT, REGION, role_arn=f"arn:aws:iam::{ACCOUNT}:role/{name}", session_name="i-1", seconds=900
        )
        for name in ("ended", "going-on")
    )
    moto_adapter.end_sessions(ACCOUNT, "aws", first.role_arn)
    assert moto_adapter.assumed_role(first.access_key_id) is None
    assert moto_adapter.assumed_role(second.access_key_id) is second


def test_requests_are_recorded_if_recording_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[Any] = []
    monkeypatch.setattr(recorder, "_record_request", recorded.append)
    environ = EnvironBuilder(
        method="POST", base_url="http://127.0.0.1:1/", data=b"Action=DescribeRegions"
    ).get_environ()
    request = moto_adapter.make_request(environ)
    assert recorded == [request]
    assert request.from_wsgi_server
    assert "_record_request" in inspect.getsource(convert_to_flask_response)


def test_known_regions_are_those_of_the_account() -> None:
    assert {"us-east-1", "eu-central-1"} <= set(moto_adapter.known_regions(ACCOUNT))
    assert moto_adapter.regional_backends(ACCOUNT)[REGION] is ec2_backends[ACCOUNT][REGION]


def test_experiment_keeps_the_state_that_is_set() -> None:
    backend = FISBackend(REGION, ACCOUNT)
    made = backend.create_experiment_template(None, "x", [], {}, {}, "arn")
    experiment = backend.experiments[backend.start_experiment(None, made["id"])["id"]]
    moto_adapter.set_experiment_state(experiment, "running")
    for _ in range(5):
        described = backend.get_experiment(experiment.id)
        assert (described["state"]["status"], described.get("endTime")) == ("running", None)
    moto_adapter.set_experiment_state(experiment, "completed", datetime(2026, 1, 1, tzinfo=timezone.utc))
    described = backend.get_experiment(experiment.id)
    assert (described["state"]["status"], described["endTime"]) == ("completed", 1767225600.0)


def test_instance_state_is_read_from_the_written_attributes() -> None:
    instance = Instance.__new__(Instance)
    moto_adapter.set_instance_state(instance, "stopped", None, "User initiated")
    state = moto_adapter.state_of(instance)
    assert (instance.state, state.name, state.code) == ("stopped", "stopped", 80)
    assert state is not instance._state
    assert instance.state_reason is None
    assert "_reason" in inspect.getsource(Instance)


def test_moto_names_its_own_subnet_class(subnet: Subnet) -> None:
    class Local(Subnet):
        pass

    assert "Subnet(" in inspect.getsource(SubnetBackend.create_subnet)
    moto_adapter.change_class(subnet, Local)
    assert isinstance(subnet, Local)


def test_reserved_ips_are_those_of_cidr_reservations(subnet: Subnet) -> None:
    assert moto_adapter.reserved_ips(subnet) == set()
    subnet.create_cidr_reservation("explicit", ipaddress.IPv4Network("10.1.1.16/30"))
    assert moto_adapter.reserved_ips(subnet) == {"10.1.1.16", "10.1.1.17", "10.1.1.18", "10.1.1.19"}


def test_remove_acl_associations_leaves_other_subnets(backend: EC2Backend, subnet: Subnet) -> None:
    other = backend.create_subnet(subnet.vpc_id, "10.1.2.0/24", subnet.availability_zone)
    moto_adapter.remove_acl_associations(backend.network_acls.values(), subnet.id)
    associated = [one.subnet_id for acl in backend.network_acls.values() for one in acl.associations]
    assert subnet.id not in associated
    assert other.id in associated


def test_remove_subnet_associations_leaves_other_subnets(backend: EC2Backend, subnet: Subnet) -> None:
    other = backend.create_subnet(subnet.vpc_id, "10.1.2.0/24", availability_zone=f"{REGION}a")
    table = backend.create_route_table(subnet.vpc_id)
    for one in (subnet, other):
        backend.associate_route_table(table.id, subnet_id=one.id)
    moto_adapter.remove_subnet_associations([table], subnet.id)
    assert list(table._associations.values()) == [other.id]


def test_security_groups_of_an_interface_can_be_replaced(backend: EC2Backend, subnet: Subnet) -> None:
    interface: NetworkInterface = backend.create_network_interface(subnet, None)
    group = backend.create_security_group("web", "web", vpc_id=subnet.vpc_id)
    moto_adapter.set_security_groups(interface, [group])
    assert moto_adapter.security_groups_of(interface) == [group]
    assert group in interface.group_set


def test_moto_names_its_own_instance_class() -> None:
    class Local(Instance):
        pass

    assert "Instance(" in inspect.getsource(InstanceBackend.run_instances)
    instance = Instance.__new__(Instance)
    moto_adapter.change_class(instance, Local)
    assert isinstance(instance, Local)


def test_add_instance_type_is_described(backend: EC2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EC2Backend, "instance_types", list(EC2Backend.instance_types))
    monkeypatch.delitem(moto_adapter.INSTANCE_TYPES, "x0.added", raising=False)
    moto_adapter.add_instance_type("x0.added", {"InstanceType": "x0.added"})
    assert backend.describe_instance_types(["x0.added"])[0]["InstanceType"] == "x0.added"
    del moto_adapter.INSTANCE_TYPES["x0.added"]


ADD_TRANSFORMS = {"_exclude_from_response", "_include_in_response", "RESPONSE_KEY_PATH_TO_TRANSFORMER"}


def test_only_two_handlers_add_transforms() -> None:
    """LocalEC2Response replaces these two."""
    handlers = inspect.getmembers(EC2Response, inspect.isfunction)
    adding = {name for name, handler in handlers if ADD_TRANSFORMS & set(handler.__code__.co_names)}
    assert adding - ADD_TRANSFORMS == {"create_vpc_peering_connection", "describe_key_pairs"}


def test_fixed_transforms_cannot_be_added_to() -> None:
    fixed = moto_adapter.fixed_transforms()
    assert fixed["Volume.Tags"]
    with pytest.raises(TypeError):
        fixed["Volume.Size"] = str  # type: ignore[index]


def test_install_sessions_replaces_motos_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(STSBackend):
        def assume_role(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the limits of STS apply to requests only")

    fresh: Any = BackendDict(STSBackend, "sts", use_boto3_regions=False, additional_regions=["aws"])
    monkeypatch.setattr(moto_adapter, "sts_backends", fresh)
    moto_adapter.install_sessions(Local)
    assert isinstance(fresh[ACCOUNT]["aws"], Local)
    assert "sts_backends" in inspect.getsource(TokenResponse.backend.fget)
    arn = f"arn:aws:iam::{ACCOUNT}:role/reader"
    made = moto_adapter.assume_role(ACCOUNT, REGION, role_arn=arn, session_name="i-1", seconds=21600)
    assert made.role_arn == arn


def test_trust_policies_are_validated() -> None:
    with pytest.raises(IAMException) as caught:
        moto_adapter.check_trust_policy("{}")
    assert caught.value.code == "MalformedPolicyDocument"
    moto_adapter.check_trust_policy(TRUST)


def test_roles_of_an_account_have_their_arn_and_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh: Any = BackendDict(IAMBackend, "iam", use_boto3_regions=False, additional_regions=["aws"])
    monkeypatch.setattr(moto_adapter, "iam_backends", fresh)
    fresh[ACCOUNT]["aws"].create_role("reader", TRUST, "/", None, "", [], 7200)
    (role,) = moto_adapter.roles_of(ACCOUNT, "aws")
    assert (role.arn, role.max_session_duration) == (f"arn:aws:iam::{ACCOUNT}:role/reader", 7200)
    assert role.assume_role_policy_document == TRUST


def test_urls_of_a_service_lead_to_another_response_class() -> None:
    class Local(IamResponse):
        pass

    module = moto_adapter.urls_with("iam", Local)
    assert list(module.url_paths) == list(moto_adapter.urls_of("iam").url_paths)
    assert list(module.url_paths.values()) == [Local.dispatch]
    assert module.url_bases == moto_adapter.urls_of("iam").url_bases
