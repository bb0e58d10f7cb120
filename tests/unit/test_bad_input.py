"""Whatever is given to this library: it works, or it is a clear error of its own tree; and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pycloudlib import EC2
from pycloudlib.cloud import ImageType
from pycloudlib.config import load_settings
from pycloudlib.ec2.images.queries import release_query
from pycloudlib.ec2.instances.user_data import checked_user_data
from pycloudlib.ec2.network.rules import rule_from
from pycloudlib.ec2.network.vpc_plan import checked_vpc_network, planned_subnets
from pycloudlib.errors import InvalidArgumentError, PycloudlibError
from pycloudlib.key import KeyPair
from pycloudlib.local import LocalEC2
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.target import Target
from pycloudlib.ssh.transfer import pull, push
from pycloudlib.tags import Ownership, validate_tag
from support.leftovers import leftovers
from support.plain_ec2 import connect, reset
from support.sshd import Sshd

ANY_TEXT = st.text(max_size=40)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    ANY_TEXT,
    st.binary(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(ANY_TEXT, st.integers(), max_size=2),
)
PREFIXED = st.builds("{}/{}".format, st.one_of(st.ip_addresses(), ANY_TEXT), st.integers(-1, 130))
CIDRS = st.one_of(ANYTHING, PREFIXED, st.ip_addresses().map(str))
FEW = settings(max_examples=25)
FIXTURES = (HealthCheck.function_scoped_fixture,)


def works(call: Any, *arguments: Any, **named: Any) -> Any:
    """What a call gives back; None when it is a clear error of this library."""
    try:
        return call(*arguments, **named)
    except PycloudlibError:
        return None


@pytest.fixture(scope="module")
def local(session_ec2: LocalEC2) -> LocalEC2:
    reset(session_ec2)
    return session_ec2


@pytest.fixture(scope="module")
def ec2(local: LocalEC2, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EC2]:
    with EC2("any", config_file=StringIO(local.info.settings_toml())) as ec2:
        ec2.key_pair = KeyPair.generate(tmp_path_factory.mktemp("key"))
        yield ec2


@pytest.fixture(scope="module")
def client(local: LocalEC2) -> Any:
    return connect(local)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        target = Target(sshd.host, sshd.username, sshd.private_key_path, port=sshd.port)
        with Connection(target, HostKeys()) as opened:
            yield opened


# Settings


@given(text=st.one_of(ANY_TEXT, ANY_TEXT.map(lambda text: f"[ec2]\n{text}")))
@example(text="[ec2]\nregion = [[[[")
@example(text="[ec2]\n" + "a." * 3000 + "b = 1")
def test_any_settings_file(text: str) -> None:
    works(load_settings, StringIO(text))


SETTING_NAMES = ("region", "endpoint_url", "ttl", "ssh_port", "ssh_cidr", "host_keys", "username", "boot_timeout")


@given(values=st.dictionaries(st.sampled_from(SETTING_NAMES), ANYTHING, max_size=3))
def test_any_value_of_any_setting(values: Mapping[str, Any]) -> None:
    works(load_settings, StringIO(""), overrides=values)


@given(name=ANY_TEXT, key=ANY_TEXT, endpoint_url=st.one_of(ANY_TEXT, ANY_TEXT.map(lambda text: f"http://{text}")))
@FEW
def test_any_arguments_of_ec2(name: str, key: str, endpoint_url: str) -> None:
    works(EC2, name, access_key_id=key, secret_access_key=key, region="us-east-1", endpoint_url=endpoint_url)


# Tags


@given(tag=ANYTHING)
def test_any_tag_of_ec2(tag: Any) -> None:
    works(validate_tag, tag)


@given(tags=st.dictionaries(ANYTHING.filter(lambda key: not isinstance(key, (list, dict))), ANYTHING, max_size=4))
def test_any_further_tags(tags: Any) -> None:
    own = works(Ownership("run", "me@here").tags, "name", tags)
    assert own is None or all(isinstance(value, str) for pair in own.items() for value in pair)


@given(tags=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3))
@FEW
@example(tags={"a": "\x00"})
@example(tags={"\ud800": "x"})
def test_any_tags_of_a_volume(tags: dict[str, str], ec2: EC2, client: Any) -> None:
    volume = works(ec2.create_volume, 1, tags=tags)
    if volume is not None:
        assert tags.items() <= volume.tags.items()
        volume.delete()
    assert leftovers(client) == []


# Networks


@given(cidr=CIDRS)
def test_any_network_of_a_vpc(cidr: Any) -> None:
    network = works(checked_vpc_network, cidr)
    assert network is None or works(planned_subnets, network, "all", ["a", "b", "c"]) is None or network.prefixlen <= 26


@given(rule=st.one_of(ANYTHING, st.tuples(ANYTHING, ANYTHING, ANYTHING, CIDRS)))
def test_any_rule(rule: Any) -> None:
    works(rule_from, rule)


@given(
    name=st.one_of(ANYTHING), cidr=CIDRS, ingress=st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING, CIDRS), max_size=2)
)
@FEW
@example(name="mine", cidr="10.0.0.0/16", ingress=[("tcp", 1, 2, "0.0.0.0/0")])
def test_any_vpc(name: Any, cidr: Any, ingress: Any, ec2: EC2, client: Any) -> None:
    vpc = works(ec2.get_or_create_vpc, name, cidr, ingress=ingress)
    assert vpc is None or vpc.delete() == []
    assert leftovers(client) == []


# Launches


def _message(text: str) -> EmailMessage:
    message = EmailMessage()
    message.set_content(text)
    return message


USER_DATA = st.one_of(
    ANYTHING, st.text(max_size=200), st.binary(max_size=200), st.text(alphabet="abc \n", max_size=50).map(_message)
)


@given(user_data=USER_DATA)
@example(user_data="\ud800")
def test_any_user_data(user_data: Any) -> None:
    checked = works(checked_user_data, user_data)
    assert checked is None or isinstance(checked, (str, bytes))


@given(
    arguments=st.fixed_dictionaries(
        {
            "image_id": st.one_of(ANYTHING, st.just("ami-0123456789abcdef0")),
            "instance_type": ANYTHING,
            "user_data": USER_DATA,
        }
    ),
    more=st.dictionaries(
        st.sampled_from(["KeyName", "SubnetId", "SecurityGroupIds", "EbsOptimized"]), ANYTHING, max_size=2
    ),
)
@FEW
def test_any_launch(arguments: dict[str, Any], more: dict[str, Any], ec2: EC2, client: Any) -> None:
    works(ec2.launch, **arguments, wait=False, **more)
    assert ec2.clean() == []
    assert leftovers(client) == []


@given(user_data=st.one_of(st.text(max_size=200), st.binary(max_size=200)))
@FEW
@example(user_data="\ud800")
@example(user_data="\x00")
def test_a_launch_with_any_user_data_gives_it_to_the_instance(user_data: Any, ec2: EC2, client: Any) -> None:
    import base64

    instance = works(ec2.launch, ec2.released_image("bookworm"), user_data=user_data, wait=False)
    if instance is not None:
        answer = client.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")
        got = base64.b64decode(answer["UserData"].get("Value", ""))
        assert got == (user_data.encode() if isinstance(user_data, str) else user_data)
    assert ec2.clean() == []


@given(
    release=st.one_of(ANYTHING, st.sampled_from(["noble", "24.04", "bookworm", "12", "sid"])),
    arch=st.one_of(ANYTHING, st.sampled_from(["x86_64", "arm64"])),
    image_type=st.one_of(ANYTHING, st.sampled_from(ImageType)),
    daily=st.booleans(),
)
def test_any_requested_image(release: Any, arch: Any, image_type: Any, daily: bool) -> None:
    query = works(release_query, release, daily=daily, arch=arch, image_type=image_type)
    assert query is None or isinstance(image_type, ImageType)


@given(
    image_type=st.sampled_from(ImageType), release=st.sampled_from(["noble", "jammy", "focal", "bookworm", "trixie"])
)
def test_any_image_type_of_any_release_is_looked_for_or_refused(image_type: ImageType, release: str, ec2: EC2) -> None:
    works(ec2.daily_image, release, image_type=image_type)
    works(ec2.released_image, release, image_type=image_type)


@given(instance_id=ANYTHING)
@FEW
def test_any_id(instance_id: Any, ec2: EC2) -> None:
    for call in (ec2.get_instance, ec2.image, ec2.delete_image, ec2.image_serial, ec2.delete_key):
        works(call, instance_id)


# What goes into a guest


ARGUMENTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(arguments=st.lists(ARGUMENTS, max_size=5))
@settings(max_examples=60, suppress_health_check=FIXTURES)
@example(
    arguments=["-c", "'", '"', "\\", "$HOME", "`id`", "a\nb", "", " ", "*", "~", "--", "é", "\U0001f600", "\r", "\t"]
)
def test_a_list_of_any_arguments_reaches_the_guest_exactly(arguments: list[str], connection: Connection) -> None:
    result = run(connection, ["printf", "%s\\0", *arguments, "end"])
    expected = [argument.encode() for argument in [*arguments, "end"]]
    assert result.raw_stdout == b"".join(argument + b"\0" for argument in expected)


@given(command=st.one_of(ANYTHING, st.lists(ANYTHING, max_size=3)))
@FEW
def test_any_command(command: Any, connection: Connection) -> None:
    # A text is a program; only what is no command at all may go wrong here.
    if not isinstance(command, str):
        works(run, connection, command if not isinstance(command, list) else ["true", *command])


FILE_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(name=FILE_NAMES)
@settings(max_examples=40, suppress_health_check=FIXTURES)
@example(name="-rf")
@example(name="a\nb'\"$(id) ;|&*?[~é\U0001f600")
@example(name="é" * 40)
def test_a_file_of_any_name_goes_there_and_back(name: str, connection: Connection, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir(exist_ok=True)
    (tmp_path / "local").write_bytes(b"content")
    try:
        push(connection, tmp_path / "local", f"{remote}/{name}")
    except PycloudlibError:
        assert "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > 255
        return
    pull(connection, f"{remote}/{name}", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"


def test_what_cannot_be_a_command_is_refused(connection: Connection) -> None:
    for command in ("a\0b", b"true", [], ["a\0b"], ["\ud800"], "\ud800", None, 7, [None]):
        with pytest.raises(InvalidArgumentError):
            run(connection, command)  # type: ignore[arg-type]


@pytest.mark.parametrize("stdin", [7, ["tell nobody"], "\ud800 tell nobody"])
def test_standard_input_that_is_none_is_refused_without_being_shown(stdin: Any, connection: Connection) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^stdin ") as caught:
        run(connection, "cat", stdin=stdin)
    assert "tell nobody" not in str(caught.value)


def test_an_answer_that_nobody_can_read_leaves_nothing(ec2: EC2, client: Any) -> None:
    """Such as one that holds what was sent in and cannot be sent back."""

    def garble(response_dict: Any, **_: object) -> None:
        response_dict["body"] = b"<garbled"

    events = ec2.client.meta.events
    events.register("before-parse.ec2.CreateVolume", garble, unique_id="garble")
    try:
        assert works(ec2.create_volume, 1) is None
    finally:
        events.unregister("before-parse.ec2.CreateVolume", unique_id="garble")
    assert leftovers(client) != []
    assert ec2.clean() == []
    assert leftovers(client) == []
