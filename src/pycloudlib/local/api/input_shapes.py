"""Validation of requests by botocore's input shapes, for the services that moto implements.

moto reads members without validating them: a member that is missing or has another type would be an InternalError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from botocore.model import ListShape, OperationModel, OperationNotFoundError, ServiceModel, Shape
from botocore.session import get_session
from botocore.validate import ParamValidator

from pycloudlib.local.api.http_messages import Refusal, body_of
from pycloudlib.local.api.service_tags import keys_in_body, keys_in_query, problem_of
from pycloudlib.local.api.shape_constraints import leaf, problems_of, size_problems

Environ = dict[str, Any]

_BAD = "400 Bad Request"
_INTEGERS = ("integer", "long")
_MAX_DIGITS = 19
_TOKEN = re.compile(r"[0-9]{0,9}")
_TOPIC = re.compile(r"arn:[^:]+:sns:[^:]+:[^:]+:[^:]+(:[^:]+)?")
_PATTERNS = {"Marker": _TOKEN, "NextToken": _TOKEN, "TopicArn": _TOPIC, "TargetArn": _TOPIC}
"""Patterns of strings that moto takes apart. Its pagination tokens are numbers."""
_CODES = {"sns": "InvalidParameter"}
"""The error codes of query services that do not have "ValidationError"."""
_RECIPIENTS = {"TopicArn", "TargetArn", "PhoneNumber"}
"""Publish needs one of these, which the model does not say."""
_WITHOUT_EFFECT = {
    "AssumeRole": {
        "PolicyArns",
        "ProvidedContexts",
        "SerialNumber",
        "SourceIdentity",
        "Tags",
        "TokenCode",
        "TransitiveTagKeys",
    },
    "PutParameter": {"Policies"},
}
"""Members, by action, that would have no effect."""


def malformed(environ: Environ, service: str, action: str) -> Refusal | None:
    """Validate the members of a request.

    Args:
        environ: the WSGI environ; its body remains readable.
        service: the service, such as "ssm".
        action: the action, such as "GetParameter".

    Returns:
        The reason to reject the request; None to accept it.
    """
    model = _service_model(service)
    try:
        operation = model.operation_model(action)
    except OperationNotFoundError:
        return None  # moto rejects it
    if operation.input_shape is None:
        return None
    if model.metadata["protocol"] == "query":
        form = _parameters(environ) | _parse(body_of(environ).decode(errors="replace"))
        problems = list(_problems_of_query(form, operation))
        if problems:
            return Refusal(_BAD, _CODES.get(service, "ValidationError"), "; ".join(problems))
        return _check_effects(action, {name.partition(".")[0] for name in form}) or _check_tags(
            service, action, keys_in_query(form)
        )
    return _check_json(environ, operation, service)


@cache
def _service_model(service: str) -> ServiceModel:
    return get_session().get_service_model(service)


def _check_tags(service: str, action: str, keys: Iterable[str]) -> Refusal | None:
    problem = problem_of(service, action, list(keys))
    return Refusal(_BAD, *problem) if problem else None


def _check_effects(action: str, members: Iterable[str]) -> Refusal | None:
    for name in sorted(_WITHOUT_EFFECT.get(action, set()) & set(members)):
        return Refusal(_BAD, "UnsupportedOperation", f"The local EC2 does not have the parameter {name} of {action}")
    return None


def _problems_of_query(form: Mapping[str, str], operation: OperationModel) -> Iterator[str]:
    shape: Any = operation.input_shape
    present = {name.partition(".")[0] for name in form}
    for name in shape.required_members:
        if name not in present:
            yield f"Missing required parameter in input: {name}"
    if operation.name == "Publish" and not present & _RECIPIENTS:
        yield f"Missing parameter in input: one of {', '.join(sorted(_RECIPIENTS))}"
    for name, member in shape.members.items():
        if name in form:
            yield from _problems_of_integer(name, form[name], member)
            yield from _problems_of_text(name, form[name])
        if isinstance(member, ListShape) and name in present:
            yield from size_problems(f"{name[:1].lower()}{name[1:]}", _elements(name, form), member)
    for name, text in form.items():
        yield from _problems_of_leaf(name, text, shape)


def _elements(name: str, form: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the elements of a list: their texts by the rest of the parameters' names."""
    elements: dict[str, dict[str, str]] = {}
    for parameter, text in form.items():
        number, _, rest = parameter.removeprefix(f"{name}.member.").partition(".")
        if number != parameter.partition(".")[0]:
            elements.setdefault(number, {})[rest] = text
    return list(elements.values())


def _problems_of_leaf(name: str, text: str, shape: Shape) -> Iterator[str]:
    leaf_shape = leaf(shape, name.split("."))
    if leaf_shape is not None and leaf_shape.type_name == "string":
        yield from problems_of(f"{name[:1].lower()}{name[1:]}", text, leaf_shape)


def _problems_of_text(name: str, text: str) -> Iterator[str]:
    if name in _PATTERNS and not _PATTERNS[name].fullmatch(text):
        yield f"Invalid value for parameter {name}: {text}"


def _problems_of_integer(name: str, text: str, shape: Shape) -> Iterator[str]:
    if shape.type_name not in _INTEGERS:
        return
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        yield f"Invalid value for parameter {name}: {text} is not an integer"
        return
    limits: Mapping[str, int] = shape.metadata
    if not limits.get("min", int(text)) <= int(text) <= limits.get("max", int(text)):
        yield f"Invalid value for parameter {name}: {text} is not from {limits.get('min')} to {limits.get('max')}"


def _check_json(environ: Environ, operation: OperationModel, service: str) -> Refusal | None:
    shape: Any = operation.input_shape
    located = {name: member.serialization.get("location") for name, member in shape.members.items()}
    query = _parameters(environ)
    problems: list[str] = []
    body: dict[str, Any] = {}
    for name, member in shape.members.items():
        parameter = str(member.serialization.get("name", name))
        if located[name] == "querystring" and parameter in query:
            problems += _problems_of_integer(name, query[parameter], member)
    if environ["REQUEST_METHOD"] == "POST":
        try:
            body = json.loads(body_of(environ) or b"{}")
        except (ValueError, RecursionError):
            return Refusal(_BAD, "SerializationException", "The request body is not valid JSON")
        report = ParamValidator().validate(body, shape)
        problems += report.generate_report().splitlines()
        if not problems:
            problems += problems_of("", body, shape)
        if service == "ssm" and not problems and body.get("NextToken"):
            problems += _problems_of_text("NextToken", body["NextToken"])
    if problems:
        return Refusal(_BAD, "ValidationException", "; ".join(problems))
    return _check_effects(operation.name, body) or _check_tags(service, operation.name, keys_in_body(body))


def _parameters(environ: Environ) -> dict[str, str]:
    return _parse(environ.get("QUERY_STRING", ""))


def _parse(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
