"""The lists of created resources, which callers may modify, as in pycloudlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from pycloudlib.errors import InvalidArgumentError

T = TypeVar("T")


def check_is_text(what: str, value: object) -> None:
    """Raise unless a value is a nonempty string, as ids and names are.

    Args:
        what: the kind of value for the message, such as "an image id".
        value: the value.

    Raises:
        InvalidArgumentError: the value is not a string, or is empty.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgumentError(f"{value!r} is not {what}; it must be a string")


@dataclass(frozen=True, eq=False, repr=False)
class CreatedResources(MutableSequence[T], Generic[T]):
    """The resources of one kind that `clean()` deletes, oldest first.

    This is a live view: deleted resources disappear from it. Remove a resource to keep it, or add one to have `clean()`
    delete it. The order is that of recording, so `insert()` appends.

    Args:
        read: returns the recorded resources.
        record: records a resource for deletion.
        forget: drops a resource from the ledger.
    """

    read: Callable[[], list[T]]
    record: Callable[[T], None]
    forget: Callable[[T], None]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.read()[index]

    @overload
    def __setitem__(self, index: int, value: T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[T]) -> None: ...
    def __setitem__(self, index: int | slice, value: T | Iterable[T]) -> None:
        resources: Any = self.read()
        resources[index] = value
        self.replace(resources)

    @overload
    def __delitem__(self, index: int) -> None: ...
    @overload
    def __delitem__(self, index: slice) -> None: ...
    def __delitem__(self, index: int | slice) -> None:
        recorded = self.read()
        for resource in recorded[index] if isinstance(index, slice) else [recorded[index]]:
            self.forget(resource)

    def __len__(self) -> int:
        return len(self.read())

    def __iter__(self) -> Iterator[T]:
        return iter(self.read())

    def insert(self, index: int, value: T) -> None:
        """Record a resource, so that `clean()` deletes it.

        Args:
            index: ignored.
            value: the resource.

        Raises:
            InvalidArgumentError: the value is not a resource of this kind.
        """
        self.record(value)

    def remove(self, value: T) -> None:
        """Drop a resource, so that `clean()` keeps it.

        Args:
            value: the resource.

        Raises:
            ValueError: the resource is not in the list.
        """
        recorded = self.read()
        if value not in recorded:
            raise ValueError(f"{value!r} is not in {recorded!r}")
        self.forget(value)

    def replace(self, resources: Iterable[T]) -> None:
        """Replace the recorded resources of this kind.

        Args:
            resources: the resources.

        Raises:
            InvalidArgumentError: a value is not a resource of this kind, or `resources` is a single one.
        """
        if isinstance(resources, str) or not isinstance(resources, Iterable):
            raise InvalidArgumentError(f"{resources!r} is not a list of resources; give one such as [{resources!r}]")
        expected, recorded = list(resources), self.read()
        for resource in expected:
            if resource not in recorded:
                self.record(resource)
        for resource in recorded:
            if resource not in expected:
                self.forget(resource)

    def copy(self) -> list[T]:
        """Return a list of the resources."""
        return self.read()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, CreatedResources)):
            return self.read() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Iterable[T]) -> list[T]:
        return [*self.read(), *other]

    def __radd__(self, other: Iterable[T]) -> list[T]:
        return [*other, *self.read()]

    def __repr__(self) -> str:
        return repr(self.read())
