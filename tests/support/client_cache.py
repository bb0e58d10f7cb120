"""boto3's clients at a third of their CPU time: tests create thousands, most of them for EC2.

botocore generates the hundreds of methods of a client anew for each one, and looks up the events of each session in a
table of aliases. Both depend on nothing but the service model and the names.
"""

from __future__ import annotations

from typing import Any

from botocore.client import ClientCreator
from botocore.hooks import EVENT_ALIASES, EventAliaser
from botocore.model import ServiceModel

from pycloudlib.local.api.service_model_cache import share_service_models

_generate_methods = ClientCreator._create_methods
_initialize_aliaser = EventAliaser.__init__

_methods: dict[int, tuple[Any, dict[str, Any]]] = {}
"""The methods by the id of their service description, and the description itself, so that nothing else gets its id."""

_names: dict[str, str] = {}
"""The names of events by their aliases."""


def share_client_methods() -> None:
    """Let clients of one service share their description and their methods. Idempotent."""
    share_service_models()
    ClientCreator._create_methods = _shared_methods
    EventAliaser.__init__ = _initialize_with_shared_names


def _shared_methods(creator: ClientCreator, service_model: ServiceModel) -> dict[str, Any]:
    description = service_model._service_description
    if id(description) not in _methods:
        _methods[id(description)] = (description, _generate_methods(creator, service_model))
    # A copy, since handlers of the event "creating-client-class" add methods.
    return dict(_methods[id(description)][1])


def _initialize_with_shared_names(aliaser: EventAliaser, event_emitter: Any, event_aliases: Any = None) -> None:
    _initialize_aliaser(aliaser, event_emitter, event_aliases)
    if aliaser._event_aliases == EVENT_ALIASES:
        aliaser._alias_name_cache = _names
