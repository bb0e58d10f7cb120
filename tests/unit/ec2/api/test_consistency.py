from __future__ import annotations

from collections.abc import Callable

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import when_free, when_known
from pycloudlib.errors import CloudError, IllegalStateError, PermissionDeniedError
from support.scripted_ec2 import ScriptedEC2

GROUP = "sg-0123456789abcdef0"


@pytest.fixture
def delete(scripted_client) -> Callable[[], object]:
    return lambda: scripted_client.delete_security_group(GroupId=GROUP)


def test_what_ec2_does_not_know_yet_is_asked_for_again(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "InvalidGroup.NotFound", f"'{GROUP}' does not exist")
    script.answer("DeleteSecurityGroup", "<return>true</return>")
    when_known(delete, what="delete it")
    assert script.count("DeleteSecurityGroup") == 2


def test_any_other_refusal_is_final(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "UnauthorizedOperation")
    with pytest.raises(PermissionDeniedError):
        when_known(delete, what="delete it")
    with pytest.raises(PermissionDeniedError):
        when_free(delete, what="delete it", deadline=Deadline.after(60))
    assert script.count("DeleteSecurityGroup") == 2


def test_what_something_hangs_on_is_deleted_once_that_is_gone(
    delete: Callable[[], object], script: ScriptedEC2
) -> None:
    script.refuse("DeleteSecurityGroup", "DependencyViolation", f"{GROUP} has a dependent object")
    script.refuse("DeleteSecurityGroup", "ServiceUnavailable", status=503)
    script.answer("DeleteSecurityGroup", "<return>true</return>")
    when_free(delete, what="delete it", deadline=Deadline.after(60))


def test_what_stays_in_use_is_an_error_in_ec2s_words(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "DependencyViolation", f"{GROUP} has a dependent object")
    with pytest.raises(IllegalStateError, match="has a dependent object"):
        when_free(delete, what="delete it", deadline=Deadline.after(60), patience=0)


def test_what_is_gone_is_deleted_without_an_error(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "InvalidGroup.NotFound", f"'{GROUP}' does not exist")
    when_free(delete, what="delete it", deadline=Deadline.after(60))
    assert script.count("DeleteSecurityGroup") == 1


def test_a_refusal_keeps_its_code(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "CannotDelete", "the default one")
    with pytest.raises(CloudError) as caught:
        when_free(delete, what="delete it", deadline=Deadline.after(60))
    assert caught.value.code == "CannotDelete"
