"""An EC2 over HTTP that says what a test wants it to say, for what no emulator can be brought to say."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from support.http_endpoint import QuietHandler, serving

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


class ScriptedEC2:
    """What is said, and what was asked. The last answer to an action is given again and again."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.clock_offset = 0.0
        """Seconds by which its clock, as the header Date tells it, is ahead."""
        self._answers: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._lock = threading.Lock()

    def answer(self, action: str, body: str) -> None:
        """Answer the action with this content, after what it was told to answer before."""
        text = f'<{action}Response xmlns="{NAMESPACE}"><requestId>r-1</requestId>{body}</{action}Response>'
        self._answers[action].append((200, text))

    def refuse(self, action: str, code: str, message: str = "because", status: int = 400) -> None:
        """Refuse the action with an AWS code, after what it was told to answer before."""
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        text = f"<Response><Errors>{error}</Errors><RequestID>r-2</RequestID></Response>"
        self._answers[action].append((status, text))

    def say(self, action: str, status: int, text: str) -> None:
        """Answer the action with something that may not be EC2's at all."""
        self._answers[action].append((status, text))

    def count(self, action: str) -> int:
        """How often the action was asked for."""
        return sum(1 for question in self.asked if question["Action"] == action)

    def next_answer(self, question: dict[str, str]) -> tuple[int, str]:
        """Take the next answer."""
        with self._lock:
            self.asked.append(question)
            answers = self._answers[question["Action"]]
            if not answers:
                raise AssertionError(f"nothing is scripted for {question['Action']}")
            return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def scripted_ec2() -> Iterator[ScriptedEC2]:
    """Serve it on a loopback port for as long as the context lasts."""
    script = ScriptedEC2()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            script.paths.append(self.path)
            question = {name: values[0] for name, values in parse_qs(body).items()}
            if "X-Amz-Target" in self.headers:
                # A service that speaks JSON, such as SSM.
                question = {"Action": self.headers["X-Amz-Target"], "body": body}
            status, text = script.next_answer(question)
            self.respond(status, "text/xml", text.encode())

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + script.clock_offset)

    with serving(Handler) as script.url:
        yield script


def instances_xml(*instances: tuple[str, str], addresses: str = "<ipAddress>127.0.0.1</ipAddress>") -> str:
    """The content of a DescribeInstances answer.

    Args:
        *instances: id and state of each.
        addresses: the elements that tell the addresses of each; default a public one.
    """
    items = "".join(
        f"<item><instanceId>{instance_id}</instanceId><imageId>ami-1</imageId>"
        f"<instanceState><code>0</code><name>{state}</name></instanceState>"
        f"{addresses}</item>"
        for instance_id, state in instances
    )
    return f"<reservationSet><item><instancesSet>{items}</instancesSet></item></reservationSet>"
