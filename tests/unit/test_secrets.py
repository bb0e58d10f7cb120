"""A whole use of the library, with every log on: nothing that is secret is in anything that it wrote."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from getpass import getuser

import pytest

from pycloudlib.local import LocalEC2
from support.command_line import PROGRAM
from support.guest import Guest
from support.sshd import ALL_LOOPBACK

SECRETS = {
    "secret key": "tell-nobody-of-this-secret-access-key",
    "session token": "tell-nobody-of-this-session-token",
    "user data": "tell-nobody-of-this-user-data",
    "stdin": "tell-nobody-of-this-standard-input",
    "command": "tell-nobody-of-this-command",
    "script": "tell-nobody-of-this-script",
    "file": "tell-nobody-of-this-file",
    "environment": "tell-nobody-of-this-variable",
}

USE = """
import json, logging, sys, traceback
from email.mime.text import MIMEText
from pathlib import Path
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("paramiko").setLevel(logging.DEBUG)
from pycloudlib import EC2
from pycloudlib.config import load_settings
from pycloudlib.errors import PycloudlibError

settings_file, public_key, username, directory, secrets = *sys.argv[1:5], json.loads(sys.stdin.read())

def attempt(call):
    try:
        print(repr(call()))
    except PycloudlibError as error:
        print(repr(error), str(error), vars(error))
        traceback.print_exc()

print(load_settings(settings_file), repr(load_settings(settings_file)))
with EC2("secret", config_file=settings_file) as ec2:
    print(ec2, dict(ec2.config), vars(ec2), ec2._session, ec2._instance_context)
    ec2.upload_key(public_key, name=f"{ec2.tag}-key")
    print(ec2.key_pair, vars(ec2.key_pair) if hasattr(ec2.key_pair, "__dict__") else "")
    image = ec2.released_image("bookworm")
    data = "#cloud-config\\n# " + secrets["user data"]
    instance = ec2.launch(image, user_data=data, username=username)
    print(instance, vars(instance))
    for given in (data * 1000, MIMEText(data * 1000)):
        attempt(lambda: ec2.launch(image, user_data=given, username=username, wait=False))
    attempt(lambda: ec2.launch(image, user_data=data, username=username, SubnetId="subnet-0123456789abcdef0"))
    attempt(lambda: ec2.launch(image, user_data=data, username=username, UserDat=data))
    result = instance.execute("cat >/dev/null; exit 3", stdin=secrets["stdin"])
    attempt(result.check)
    attempt(lambda: instance.execute("cat >/dev/null; sleep 600", stdin=secrets["stdin"], timeout=5))
    attempt(lambda: instance.execute(["true", secrets["command"]], no_log=True))
    attempt(instance.execute(["false", secrets["command"]], no_log=True).check)
    attempt(lambda: instance.execute("true", env={"TOKEN": secrets["environment"]}, no_log=True))
    attempt(lambda: instance.run_script("#!/bin/sh\\n: " + secrets["script"] + "\\nexit 4\\n"))
    Path(directory, "file").write_text(secrets["file"])
    attempt(lambda: instance.push_file(Path(directory, "file"), "/nowhere/at/all"))
    ec2.resource.create_instances(ImageId=image, MinCount=1, MaxCount=1, UserData=data)[0].terminate()
    print(ec2.create_key_pair()[0])
"""


@dataclass(frozen=True)
class Run:
    """What was written in the whole run."""

    program: str
    server: str
    command_line: str
    private_key: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("secrets")
    with (
        pytest.MonkeyPatch.context() as environment,
        Guest(directory / "guest", listen=ALL_LOOPBACK) as guest,
    ):
        environment.setenv("XDG_STATE_HOME", str(directory / "state"))
        with LocalEC2(driver="simulated", ssh_port=guest.sshd.port) as local:
            settings = directory / "settings.toml"
            text = local.info.settings_toml(ttl=3600, session_token=SECRETS["session token"])
            settings.write_text(
                text.replace(f'"{local.secret_access_key}"', json.dumps(SECRETS["secret key"])).replace(
                    f"access_key_id = {json.dumps(SECRETS['secret key'])}", 'access_key_id = "AKIAlocal"', 1
                )
            )
            settings.chmod(0o600)
            key = guest.key_pair.public_key_path
            arguments = [str(settings), str(key), getuser(), str(directory)]
            done = subprocess.run(
                [sys.executable, "-c", USE, *arguments],
                check=False,
                input=json.dumps(SECRETS),
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            swept = subprocess.run(
                [sys.executable, "-c", PROGRAM, "-v", "sweep", "--config-file", str(settings)],
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
            )
            yield Run(
                program=done.stdout + done.stderr,
                server=(local.directory / "server.log").read_text(),
                command_line=swept.stdout + swept.stderr,
                private_key=guest.sshd.private_key_path.read_text(),
            )


def test_every_log_was_on(run: Run) -> None:
    for logger in ("DEBUG:pycloudlib.", "INFO:pycloudlib.", "DEBUG:paramiko.", "DEBUG:urllib3."):
        assert logger in run.program
    assert "CommandError" in run.program
    assert "CommandTimeoutError" in run.program
    assert "TransferFileNotFoundError" in run.program
    assert "InvalidArgumentError" in run.program
    assert "RunInstances" in run.server
    assert run.command_line


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_in_anything_that_was_written(name: str, run: Run) -> None:
    secret = SECRETS[name]
    # In base64 it looks different with what stands before it.
    encoded = [base64.b64encode(b" " * before + secret.encode()).decode()[4:-4] for before in range(3)]
    for written in (run.program, run.server, run.command_line):
        assert [form for form in (secret, *encoded) if form in written] == []


def test_no_line_of_a_private_key_is_in_anything_that_was_written(run: Run) -> None:
    lines = run.private_key.splitlines()[1:-1]
    assert lines
    for line in lines:
        assert line not in run.program + run.server + run.command_line
    assert "PRIVATE KEY" not in run.program + run.server + run.command_line


@pytest.mark.parametrize(
    ("level", "of_root", "expected"),
    [
        (logging.NOTSET, logging.DEBUG, logging.INFO),
        (logging.NOTSET, logging.WARNING, logging.WARNING),
        (logging.DEBUG, logging.WARNING, logging.DEBUG),
    ],
)
def test_botocore_requests_are_logged_only_at_its_own_level(level: int, of_root: int, expected: int) -> None:
    from support.region_contexts import region_context_at

    names = ("botocore", "boto3")
    levels = [logging.getLogger(name).level for name in ("", *names)]
    try:
        logging.getLogger().setLevel(of_root)
        for name in names:
            logging.getLogger(name).setLevel(level)
        region_context_at("http://127.0.0.1:9")
        assert [logging.getLogger(name).level for name in names] == [expected, expected]
    finally:
        for name, before in zip(("", *names), levels, strict=True):
            logging.getLogger(name).setLevel(before)
