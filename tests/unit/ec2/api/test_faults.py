from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, SSOTokenLoadError
from botocore.parsers import ResponseParserError

from pycloudlib.ec2.api.faults import translate, translated, translating
from pycloudlib.errors import (
    CapacityError,
    CloudError,
    CloudSetupError,
    CredentialsError,
    IllegalStateError,
    ImageNotFoundError,
    InstanceNotFoundError,
    InvalidArgumentError,
    KeyPairNotFoundError,
    NetworkNotFoundError,
    PermissionDeniedError,
    PycloudlibError,
    ResourceNotFoundError,
    ThrottledError,
)
from support.scripted_ec2 import ScriptedEC2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("InvalidAMIID.NotFound", ImageNotFoundError),
        ("InvalidAMIID.Malformed", ImageNotFoundError),
        ("InvalidInstanceID.NotFound", InstanceNotFoundError),
        ("InvalidInstanceID.Malformed", InstanceNotFoundError),
        ("InvalidKeyPair.NotFound", KeyPairNotFoundError),
        ("InvalidVpcID.NotFound", NetworkNotFoundError),
        ("InvalidSubnetID.NotFound", NetworkNotFoundError),
        ("InvalidSnapshot.NotFound", ResourceNotFoundError),
        ("AuthFailure", CredentialsError),
        ("InvalidClientTokenId", CredentialsError),
        ("RequestExpired", CredentialsError),
        ("UnauthorizedOperation", PermissionDeniedError),
        ("OptInRequired", PermissionDeniedError),
        ("IncorrectInstanceState", IllegalStateError),
        ("OperationNotPermitted", IllegalStateError),
        ("DependencyViolation", IllegalStateError),
        ("InvalidGroup.InUse", IllegalStateError),
        ("InsufficientInstanceCapacity", CapacityError),
        ("VcpuLimitExceeded", CapacityError),
        ("AddressLimitExceeded", CapacityError),
        ("RequestLimitExceeded", ThrottledError),
        ("Throttling", ThrottledError),
        ("InvalidParameterValue", CloudError),
    ],
)
def test_each_code_becomes_its_error(code: str, error: type[PycloudlibError]) -> None:
    assert type(translate(refusal(code))) is error


def test_an_error_carries_code_operation_and_request_id_in_one_line() -> None:
    error = translate(refusal("InvalidParameterValue", "no\n such  thing"))
    assert isinstance(error, CloudError)
    assert (error.code, error.operation, error.request_id) == ("InvalidParameterValue", "RunInstances", "r-1")
    assert str(error) == "EC2 refused RunInstances: no such thing (InvalidParameterValue)"


@pytest.mark.parametrize(
    ("code", "reason", "resource_id"),
    [
        ("InvalidInstanceID.NotFound", "The instance ID 'i-0123456789abcdef0' does not exist", "i-0123456789abcdef0"),
        ("InvalidAMIID.NotFound", "The image id '[ami-12345678]' does not exist", "ami-12345678"),
        ("InvalidKeyPair.NotFound", "The key pair 'my key' does not exist", "my key"),
        ("InvalidSnapshot.NotFound", "snap-12345678 is not there", "snap-12345678"),
    ],
)
def test_what_is_not_found_is_named(code: str, reason: str, resource_id: str) -> None:
    error = translate(refusal(code, reason))
    assert isinstance(error, ResourceNotFoundError)
    assert error.resource_id == resource_id


def test_an_image_that_may_not_be_used_is_no_matter_of_credentials() -> None:
    error = translate(refusal("AuthFailure", "Not authorized for images: [ami-12345678]"))
    assert type(error) is PermissionDeniedError


def test_the_original_is_chained(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeKeyPairs", "UnauthorizedOperation")
    with pytest.raises(PermissionDeniedError) as caught, translated():
        scripted_client.describe_key_pairs()
    assert isinstance(caught.value.__cause__, ClientError)


def test_a_call_that_is_made_later_is_translated_then(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeVpcs", "UnauthorizedOperation")
    script.answer("DescribeVpcs", "<vpcSet/>")
    describe = translating(scripted_client.describe_vpcs)
    with pytest.raises(PermissionDeniedError):
        describe()
    assert describe()["Vpcs"] == []


def test_a_parameter_of_the_wrong_type_is_a_bad_argument_in_one_line(scripted_client) -> None:
    with pytest.raises(InvalidArgumentError) as caught, translated():
        scripted_client.describe_key_pairs(KeyNames="not-a-list")
    assert "KeyNames" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_not_ec2s_is_an_error_of_the_cloud(scripted_client, script: ScriptedEC2) -> None:
    script.say("DescribeKeyPairs", 200, "<html><body><p>hello</body></html>")
    with pytest.raises(CloudError, match="not EC2"), translated():
        scripted_client.describe_key_pairs()


def test_a_page_instead_of_an_answer_is_not_quoted() -> None:
    quoted = (
        "Unable to parse response (syntax error: line 1), invalid XML received. Further retries may succeed:\nb'<html>'"
    )
    translated_error = translate(ResponseParserError(quoted))
    assert str(translated_error) == (
        "the server at the endpoint is not EC2: check endpoint_url: Unable to parse response (syntax error: line 1)"
    )


def test_an_endpoint_that_is_not_there_is_named() -> None:
    error = translate(EndpointConnectionError(endpoint_url="http://127.0.0.1:9/"))
    assert isinstance(error, CloudSetupError)
    assert "http://127.0.0.1:9/" in str(error)


def test_unreachable_sts_is_named() -> None:
    error = translate(EndpointConnectionError(endpoint_url="https://sts.eu-central-1.amazonaws.com/"))
    assert str(error).startswith("cannot reach STS at https://sts.eu-central-1.amazonaws.com/: ")


def test_expired_single_sign_on_names_the_command_that_renews_it() -> None:
    error = translate(SSOTokenLoadError(error_msg="Token for work does not exist"))
    assert type(error) is CredentialsError
    assert str(error).endswith("Token for work does not exist; run `aws sso login` for the profile")


def test_missing_token_file_is_an_error_of_the_credentials() -> None:
    with pytest.raises(CredentialsError, match=r"there is no file /none/token$"), translated():
        Path("/none/token").read_text()


def test_other_errors_pass_through_unchanged() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        _ = 1 / 0


def refusal(code: str, reason: str = "because") -> ClientError:
    response = {"Error": {"Code": code, "Message": reason}, "ResponseMetadata": {"RequestId": "r-1"}}
    return ClientError(response, "RunInstances")
