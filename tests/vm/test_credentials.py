"""Credentials of an instance profile: found in a guest's metadata, and taken by the endpoint that it reaches."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.local import LocalEC2
from support.imds import asking_imds
from support.services import TRUST
from support.vm_release import RELEASE

pytestmark = pytest.mark.vm

CALLER = """
import datetime, hashlib, hmac, json, sys, urllib.request
endpoint, host, keys = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
body, now = b"Action=GetCallerIdentity&Version=2011-06-15", datetime.datetime.utcnow().strftime("%Y%m%dT%H%M%SZ")
scope = now[:8] + "/us-east-1/sts/aws4_request"
headers = {"content-type": "application/x-www-form-urlencoded", "host": host, "x-amz-date": now}
headers["x-amz-security-token"] = keys["Token"]
names = ";".join(sorted(headers))
lines = "".join(name + ":" + headers[name] + "\\n" for name in sorted(headers))
request = "\\n".join(["POST", "/", "", lines, names, hashlib.sha256(body).hexdigest()])
text = "\\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
key = ("AWS4" + keys["SecretAccessKey"]).encode()
for part in scope.split("/"):
    key = hmac.new(key, part.encode(), hashlib.sha256).digest()
signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
credential = "AWS4-HMAC-SHA256 Credential=" + keys["AccessKeyId"] + "/" + scope
headers["Authorization"] = credential + ", SignedHeaders=" + names + ", Signature=" + signature
print(urllib.request.urlopen(urllib.request.Request(endpoint, body, headers)).read().decode())
"""
"""Asks who one is, as an SDK does, with nothing but Python."""


def connect(local: LocalEC2, service: str, **credentials: str) -> Any:
    own = {"aws_access_key_id": local.access_key_id, "aws_secret_access_key": local.secret_access_key}
    return boto3.client(service, endpoint_url=local.endpoint_url, region_name=local.region, **{**own, **credentials})


@pytest.fixture(scope="module")
def local() -> Iterator[LocalEC2]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with LocalEC2(auth=True, port=port, host_ports=[port]) as local:
        yield local


@pytest.fixture(scope="module")
def instance(local: LocalEC2, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EC2Instance]:
    iam = connect(local, "iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)
    iam.create_instance_profile(InstanceProfileName="reader")
    iam.add_role_to_instance_profile(InstanceProfileName="reader", RoleName="reader")
    with EC2("credentials", config_file=StringIO(local.info.settings_toml())) as ec2:
        ec2.key_pair = KeyPair.generate(tmp_path_factory.mktemp("key"))
        yield ec2.launch(ec2.daily_image(RELEASE), IamInstanceProfile={"Name": "reader"})


def test_credentials_in_the_metadata_are_taken_with_their_token(local: LocalEC2, instance: EC2Instance) -> None:
    assert instance.execute(asking_imds("iam/security-credentials/")).check().strip() == "reader"
    keys = json.loads(instance.execute(asking_imds("iam/security-credentials/reader")).check())
    temporary = {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"]}
    caller = connect(local, "sts", **temporary, aws_session_token=keys["Token"]).get_caller_identity()
    assert caller["Arn"] == f"arn:aws:sts::123456789012:assumed-role/reader/{instance.id}"
    with pytest.raises(ClientError, match="AuthFailure"):
        connect(local, "ec2", **temporary).describe_instances()


def test_a_guest_calls_the_endpoint_with_its_credentials(local: LocalEC2, instance: EC2Instance) -> None:
    keys = instance.execute(asking_imds("iam/security-credentials/reader")).check()
    address = "198.51.100.1"
    if local.info.network == "user":
        address = instance.execute("ip -4 route show default | cut -d ' ' -f 3").check().strip()
    host = f"{address}:{urlsplit(local.endpoint_url).port}"
    answer = instance.execute(["python3", "-c", CALLER, f"http://{host}/", host, keys]).check()
    assert f"assumed-role/reader/{instance.id}" in answer
