from __future__ import annotations

from collections.abc import Callable

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, when_free
from pycloudlib.errors import (
    CloudError,
    IllegalStateError,
    InstanceNotFoundError,
    PermissionDeniedError,
    ThrottledError,
)
from support.fake_clock import FakeClock
from support.scripted_ec2 import ScriptedEC2

GROUP = "sg-0123456789abcdef0"


@pytest.fixture
def delete(scripted_client) -> Callable[[], object]:
    return lambda: scripted_client.delete_security_group(GroupId=GROUP)


def test_not_found_is_retried_until_consistent(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "InvalidGroup.NotFound", f"'{GROUP}' does not exist")
    script.answer("DeleteSecurityGroup", "<return>true</return>")
    call_until_consistent(delete, what="delete it")
    assert script.count("DeleteSecurityGroup") == 2


def test_any_other_refusal_is_final(delete: Callable[[], object], script: ScriptedEC2) -> None:
    script.refuse("DeleteSecurityGroup", "UnauthorizedOperation")
    with pytest.raises(PermissionDeniedError):
        call_until_consistent(delete, what="delete it")
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


def test_a_call_is_made_again_until_ec2_knows_the_resource() -> None:
    clock = FakeClock()
    answers = [not_found(), not_found(), "known"]
    assert call_until_consistent(lambda: say(answers), what="test", deadline=Deadline.never(clock)) == "known"
    assert clock.time > 0


def test_a_call_that_stays_refused_ends_in_the_refusal() -> None:
    with pytest.raises(InstanceNotFoundError):
        call_until_consistent(lambda: say([not_found()]), what="test", deadline=Deadline.never(FakeClock()), patience=5)


def test_a_call_that_is_throttled_is_made_again() -> None:
    answers = [ThrottledError("slow down", code="RequestLimitExceeded"), "done"]
    assert call_until_consistent(lambda: say(answers), what="test", deadline=Deadline.never(FakeClock())) == "done"


def test_any_other_refusal_ends_the_calls_at_once() -> None:
    clock = FakeClock()
    refusals = [PermissionDeniedError("no", code="UnauthorizedOperation"), "never asked"]
    with pytest.raises(PermissionDeniedError):
        call_until_consistent(lambda: say(refusals), what="test", deadline=Deadline.never(clock))
    assert clock.time == 0


def not_found() -> InstanceNotFoundError:
    return InstanceNotFoundError(message="no such instance", code="InvalidInstanceID.NotFound")


def say(answers: list) -> str:
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer
