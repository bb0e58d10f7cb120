from __future__ import annotations

import gzip
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email import message_from_string
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.guest.expiry import FILE_NAME, PLAIN_SIZE, with_expiry
from pycloudlib.tags import utc_now

EXPIRES = datetime(2026, 11, 20, 18, 30, tzinfo=timezone.utc)

SCRIPT = "#!/bin/sh\necho hello\n"
PLAIN = {
    "script": SCRIPT,
    "cloud-config": "#cloud-config\npackages: [a]\n",
    "boothook": "#cloud-boothook\n#!/bin/sh\n",
    "include": "#include\nhttp://127.0.0.1/x\n",
    "jinja": "## template: jinja\n#cloud-config\na: {{ v1.region }}\n",
    "part-handler": "#part-handler\ndef list_types():\n    return []\n",
    "archive": "#cloud-config-archive\n- type: text/cloud-config\n  content: 'a: 1'\n",
    "unknown": "nothing that cloud-init knows",
    "no last line end": "#!/bin/sh\nprintf x",
    "dos": "#!/bin/sh\r\necho\r\n",
    "umlauts": "#!/bin/sh\necho äöü\n",
}


def seen(data: bytes) -> list[Message]:
    """The parts that cloud-init goes through, as its convert_string() and walk() do."""
    with suppress(OSError, EOFError):
        data = gzip.decompress(data)
    if b"mime-version:" not in data[:4096].lower():
        part = Message()
        part["Content-Type"] = "text/x-not-multipart"
        part.set_payload(data)
        return [part]
    parts = message_from_string(data.decode()).walk()
    return [part for part in parts if part.get_content_maintype() != "multipart"]


def content(part: Message) -> tuple[object, ...]:
    """All that means something to cloud-init."""
    headers = {name.lower(): value for name, value in part.items()}
    headers.pop("content-transfer-encoding", None)
    return part.get_content_type(), part.get_filename(), part.get_payload(decode=True), headers


def parts_before_the_switch(data: bytes) -> list[tuple[object, ...]]:
    *others, switch = seen(data)
    assert (switch.get_content_type(), switch.get_filename()) == ("text/cloud-boothook", FILE_NAME)
    assert switch.get_payload(decode=True) == with_expiry(None, EXPIRES)
    return [content(part) for part in others]


def multipart() -> MIMEMultipart:
    message = MIMEMultipart()
    script = MIMEText(SCRIPT, "x-shellscript")
    script.add_header("Content-Disposition", "attachment", filename="first.sh")
    config = MIMEText("#cloud-config\nruncmd: [ls]\n", "cloud-config")
    config["Merge-Type"] = "list(append)+dict(recurse_array)+str()"
    config["Launch-Index"] = "0"
    message.attach(script)
    message.attach(config)
    message.attach(MIMEApplication(gzip.compress(b"#!/bin/sh\n"), "x-gzip"))
    message.attach(MIMEApplication(bytes(range(256))))
    return message


def test_timer_is_the_only_part_without_user_data() -> None:
    lines = with_expiry(None, EXPIRES).decode().splitlines()
    assert lines[:2] == ["#cloud-boothook", "#!/bin/sh"]
    assert with_expiry("", EXPIRES) == with_expiry(b"", EXPIRES) == with_expiry(None, EXPIRES)


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_plain_user_data_becomes_one_part_without_a_type(text: str) -> None:
    merged = with_expiry(text, EXPIRES)
    ((content_type, name, payload, _),) = parts_before_the_switch(merged)
    assert (content_type, name) == ("text/x-not-multipart", None)
    assert payload == text.encode()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_parts_of_a_message_are_unchanged_and_first(line_end: str) -> None:
    data = multipart().as_string().replace("\n", line_end).encode()
    assert data in with_expiry(data, EXPIRES)
    assert parts_before_the_switch(with_expiry(data, EXPIRES)) == [content(part) for part in seen(data)]


def test_nested_messages_keep_their_order() -> None:
    outer = multipart()
    outer.attach(multipart())
    data = outer.as_bytes()
    merged = parts_before_the_switch(with_expiry(data, EXPIRES))
    assert len(merged) == 8
    assert merged == [content(part) for part in seen(data)]


def test_message_of_one_part_is_unchanged() -> None:
    data = MIMEText("#!/bin/sh\n", "x-shellscript").as_bytes()
    assert parts_before_the_switch(with_expiry(data, EXPIRES)) == [content(part) for part in seen(data)]


def test_script_that_mentions_mime_stays_a_script() -> None:
    data = b"#!/bin/sh\ncat <<END\nMIME-Version: 1.0\nEND\n"
    assert parts_before_the_switch(with_expiry(data, EXPIRES)) == [content(part) for part in seen(data)]


@pytest.mark.parametrize("data", [SCRIPT.encode(), multipart().as_bytes()], ids=["script", "multi-part"])
def test_compressed_user_data_is_merged_and_compressed(data: bytes) -> None:
    merged = with_expiry(gzip.compress(data), EXPIRES)
    assert gzip.decompress(merged) == with_expiry(data, EXPIRES)


def test_long_user_data_is_compressed() -> None:
    data = "#!/bin/sh\n" + "echo the same line again\n" * 600
    assert len(data) < PLAIN_SIZE
    merged = with_expiry(data, EXPIRES)
    assert len(merged) < PLAIN_SIZE
    ((_, _, payload, _),) = parts_before_the_switch(merged)
    assert payload == data.encode()


def test_invalid_gzip_is_unchanged() -> None:
    for data in (b"\x1f\x8b", b"\x1f\x8bno gzip at all", gzip.compress(b"#!/bin/sh\n")[:-4]):
        ((_, _, payload, _),) = parts_before_the_switch(with_expiry(data, EXPIRES))
        assert payload == data


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=2000))
@example(b"\n")
@example(b"--\n--")
@example(bytes(range(256)))
def test_any_bytes_are_preserved(data: bytes) -> None:
    # A message has tests of its own.
    assume(b"mime-version:" not in data.lower())
    ((_, _, payload, _),) = parts_before_the_switch(with_expiry(data, EXPIRES))
    assert payload == data


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), min_size=1, max_size=4))
def test_any_texts_in_a_message_are_preserved(texts: list[str]) -> None:
    message = MIMEMultipart()
    for text in texts:
        message.attach(MIMEText(text, "x-something", "utf-8"))
    data = message.as_bytes()
    assert parts_before_the_switch(with_expiry(data, EXPIRES)) == [content(part) for part in seen(data)]


def test_result_is_deterministic() -> None:
    assert with_expiry(SCRIPT, EXPIRES) == with_expiry(SCRIPT, EXPIRES)


def test_time_is_in_utc() -> None:
    elsewhere = EXPIRES.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert b'--on-calendar="2026-11-20 18:30:00 UTC"' in with_expiry(None, elsewhere)
    assert with_expiry(None, elsewhere) == with_expiry(None, EXPIRES)


def test_time_without_a_zone_is_rejected() -> None:
    with pytest.raises(InvalidArgumentError, match="time zone"):
        with_expiry(None, EXPIRES.replace(tzinfo=None))


# The switch itself, run by a real shell with programs that write down how they are called.

OFF = "systemctl --no-block --job-mode=replace-irreversibly start poweroff.target"


@dataclass
class Programs:
    """Stand-ins for what the switch calls, and a directory for /run/systemd."""

    directory: Path
    log: Path = field(init=False)
    systemd: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.directory / "log"
        self.log.touch()
        self.systemd = self.directory / "systemd"
        for name in ("systemctl", "systemd-run", "poweroff", "sleep"):
            self.let(name, "exit 0")

    def let(self, name: str, script: str) -> None:
        """Let a program do this after it has written down that it was called."""
        (self.directory / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{script}\n')
        (self.directory / name).chmod(0o755)

    def run_switch(self, expires: datetime) -> list[str]:
        """What it calls, once all of it is done."""
        path = self.directory / "switch"
        script = with_expiry(None, expires).decode().replace("/run/systemd", str(self.systemd))
        path.write_text(script.replace("\nexit 0\n", "\nwait\nexit 0\n"))
        subprocess.run(["sh", path], check=True, env={**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"})
        return self.log.read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture
def with_systemd(programs: Programs) -> Programs:
    (programs.systemd / "system").mkdir(parents=True)
    return programs


def test_timer_is_set_with_systemd(with_systemd: Programs) -> None:
    expires = utc_now() + timedelta(hours=1)
    (call,) = with_systemd.run_switch(expires)
    assert call.startswith("systemd-run --unit=pycloudlib-expiry ")
    assert f" --on-calendar={expires:%Y-%m-%d %H:%M:%S} UTC " in call
    assert call.endswith(f" {OFF}")


def test_existing_timer_remains(with_systemd: Programs) -> None:
    (with_systemd.systemd / "transient").mkdir()
    (with_systemd.systemd / "transient/pycloudlib-expiry.timer").touch()
    assert with_systemd.run_switch(utc_now() + timedelta(hours=1)) == []


def test_expired_guest_powers_off_at_once(with_systemd: Programs) -> None:
    assert with_systemd.run_switch(utc_now() - timedelta(hours=1)) == ["sleep 0", OFF]


def test_process_sleeps_if_the_timer_fails(with_systemd: Programs) -> None:
    with_systemd.let("systemd-run", "exit 1")
    _, sleep, off = with_systemd.run_switch(utc_now() + timedelta(hours=1))
    assert 3500 < int(sleep.removeprefix("sleep ")) <= 3600
    assert off == OFF


def test_process_sleeps_without_systemd(programs: Programs) -> None:
    programs.let("systemctl", "exit 1")
    calls = programs.run_switch(utc_now() + timedelta(hours=1))
    assert [call.split()[0] for call in calls] == ["sleep", "systemctl", "poweroff"]


def test_timer_does_not_block_the_boot(programs: Programs) -> None:
    """Not even its output is held open: cloud-init reads that to its end."""
    gate = programs.directory / "gate"
    os.mkfifo(gate)
    programs.let("sleep", f"cat {gate}")
    path = programs.directory / "switch"
    path.write_bytes(with_expiry(None, utc_now() + timedelta(hours=1)).replace(b"/run/systemd", b"/nowhere"))
    environment = {**os.environ, "PATH": f"{programs.directory}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", path], check=True, capture_output=True, env=environment)
    assert (done.stdout, done.stderr) == (b"", b"")
    gate.write_text("go on")
