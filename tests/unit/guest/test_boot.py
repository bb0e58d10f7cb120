from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.errors import CommandError, InvalidArgumentError, LoginShellError
from pycloudlib.guest.boot import BOOT_ID_PATH, boot_id, checked_boot_id

ID = "0f3c2d6e-8a1b-4c5d-9e7f-0123456789ab"


def test_boot_id_is_the_kernels(run) -> None:
    assert boot_id(run) == Path(BOOT_ID_PATH).read_text().strip()


def test_guest_without_a_boot_id_raises(run, program) -> None:
    program("cat", "exit 1")
    with pytest.raises(CommandError, match="read the boot id"):
        boot_id(run)


@pytest.mark.parametrize("text", ["", "boot-1", f"{ID}0"])
def test_boot_id_must_be_a_uuid(run, program, text: str) -> None:
    program("cat", f"echo {text}")
    with pytest.raises(CommandError, match=f"holds '{text}', which is not a UUID"):
        boot_id(run)


def test_boot_id_excludes_output_of_the_login_shell(run, program) -> None:
    program("cat", f"echo {ID.upper()}")
    assert (
        boot_id(lambda command, **options: run(f"echo Welcome; echo {ID[::-1]}\n{command}\necho Bye", **options)) == ID
    )


def test_login_shell_without_commands_raises(run) -> None:
    with pytest.raises(LoginShellError, match="exit status 1 and printed nothing"):
        boot_id(lambda _, **options: run("exit 1", **options))


@pytest.mark.parametrize("value", [ID, ID.upper(), f"Welcome\n{ID}"])
def test_passed_boot_id_may_have_other_output(value: str) -> None:
    assert checked_boot_id(value) == ID


@pytest.mark.parametrize("value", ["", "boot-1", None, 7])
def test_passed_boot_id_without_a_uuid_is_rejected(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"old_boot_id is .*get_boot_id"):
        checked_boot_id(value)
