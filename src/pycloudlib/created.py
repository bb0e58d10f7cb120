"""The lists of created resources, which callers may change as in pycloudlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from pycloudlib.errors import InvalidArgumentError

T = TypeVar("T")


def check_is_text(what: str, value: object) -> None:
    """Refuse what cannot be an id or a name.

    Args:
        what: such as "an image id"; for the message.
        value: what was given.

    Raises:
        InvalidArgumentError: it is no text, or empty.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgumentError(f"{value!r} is not {what}; it must be a text")


@dataclass(frozen=True, eq=False, repr=False)
class CreatedResources(MutableSequence[T], Generic[T]):
    """The resources of one kind that clean() deletes, oldest first.

    A live view: resources that are deleted leave it. clean() keeps what is removed from it, and deletes what is added
    to it. The order is that of recording, so insert() appends.

    Args:
        read: returns the resources that are recorded now.
        record: records a resource, so that clean() deletes it.
        forget: drops a resource from the record.
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
        """Let clean() delete a resource.

        Args:
            index: ignored.
            value: the resource.

        Raises:
            InvalidArgumentError: it is no resource of this kind.
        """
        self.record(value)

    def remove(self, value: T) -> None:
        """Let clean() keep a resource.

        Args:
            value: the resource.

        Raises:
            ValueError: it is not in the list.
        """
        recorded = self.read()
        if value not in recorded:
            raise ValueError(f"{value!r} is not in {recorded!r}")
        self.forget(value)

    def replace(self, resources: Iterable[T]) -> None:
        """Let clean() delete these resources and no others of this kind.

        Args:
            resources: the resources.

        Raises:
            InvalidArgumentError: one is no resource of this kind.
        """
        wanted, recorded = list(resources), self.read()
        for resource in wanted:
            if resource not in recorded:
                self.record(resource)
        for resource in recorded:
            if resource not in wanted:
                self.forget(resource)

    def copy(self) -> list[T]:
        """Return the resources as a list of their own."""
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
