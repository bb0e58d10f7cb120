"""The way into the local EC2: under which path, to which services."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import LocalEC2

PATH = "/services/Cloud"


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"path": PATH}


@pytest.fixture
def subscriber() -> Iterator[tuple[str, SimpleQueue[dict[str, Any]]]]:
    """An HTTP server on loopback, and what it was sent."""
    received: SimpleQueue[dict[str, Any]] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/notices", received
        finally:
            server.shutdown()
            thread.join()


def connect(local: LocalEC2, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )


def status(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=60)
    caught.value.close()
    return caught.value.code


def test_the_api_is_under_its_path_and_nowhere_else(local: LocalEC2) -> None:
    assert local.endpoint_url.endswith(PATH)
    assert connect(local, "ec2").describe_regions()["Regions"]
    root = local.endpoint_url.removesuffix(PATH)
    for elsewhere in ("", "/", "/services", "/services/Cloudy", "/services/Cloud.", "/elsewhere"):
        assert status(root + elsewhere) == 404
    # It is there, but nobody has signed.
    assert status(root + PATH) == status(f"{root}{PATH}/") == 401


def test_the_settings_name_the_path(local: LocalEC2) -> None:
    assert str(local.info.settings()["endpoint_url"]).endswith(PATH)


@pytest.mark.parametrize("path", ["services/Cloud", "//", "/a b", "/a?b", "/a/../b%20", "/ä"])
def test_a_path_that_is_none_is_refused_before_the_start(path: str) -> None:
    with pytest.raises(LocalEC2Error, match="cannot be under the path"):
        LocalEC2(driver="simulated", path=path)


def test_a_slash_at_the_end_of_the_path_makes_no_difference() -> None:
    with LocalEC2(driver="simulated", path="/cloud/") as local:
        assert local.endpoint_url.endswith("/cloud")
        assert connect(local, "ec2").describe_regions()["Regions"]


def test_a_notification_reaches_who_has_subscribed(
    local: LocalEC2, subscriber: tuple[str, SimpleQueue[dict[str, Any]]]
) -> None:
    url, received = subscriber
    sns = connect(local, "sns")
    topic = sns.create_topic(Name="snapshots")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url)
    sns.publish(TopicArn=topic, Subject="done", Message="the snapshot has completed")
    notices = [received.get(timeout=60)]
    while not received.empty():
        notices.append(received.get())
    notice = next(one for one in notices if one["Type"] == "Notification")
    assert (notice["TopicArn"], notice["Subject"]) == (topic, "done")
    assert notice["Message"] == "the snapshot has completed"


def test_get_caller_identity_is_supported(local: LocalEC2) -> None:
    assert connect(local, "sts").get_caller_identity()["Account"] == "123456789012"


@pytest.mark.parametrize(("service", "call"), [("s3", "list_buckets"), ("sqs", "list_queues")])
def test_another_service_is_refused_by_name(local: LocalEC2, service: str, call: str) -> None:
    with pytest.raises(
        ClientError, match=f"does not have the service '{service}'; it has ec2, fis, iam, sns, ssm, sts"
    ) as caught:
        getattr(connect(local, service), call)()
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"
