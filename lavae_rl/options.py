"""Names of options: one that does not exist raises a TypeError that says which the caller may have meant."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar, cast

Kind = TypeVar("Kind")


def check_names(
    owner: str, given: Iterable[str], known: Iterable[str], elsewhere: Mapping[str, Iterable[str]] | None = None
) -> None:
    """Raise TypeError on names that are not known.

    Args:
        owner: whose options they are, for the message.
        given: names that a caller has given.
        known: names that there are.
        elsewhere: names that belong elsewhere, by how to write them there, such as "tracking=TrackingConfig({}=...)".
    """
    known = list(dict.fromkeys(known))
    for name in given:
        if name not in known:
            raise TypeError(f"expected an option of {owner}, got {name!r}: {_advice(name, known, elsewhere or {})}")


def _advice(name: str, known: list[str], elsewhere: Mapping[str, Iterable[str]]) -> str:
    places = {option: place.format(option) for place, options in elsewhere.items() for option in options}
    places = {**places, **{option: option for option in known}}
    near = [name] if name in places else get_close_matches(name, places, 1)
    return f"did you mean {places[near[0]]}?" if near else f"there are {', '.join(known)}"


def named_options(elsewhere: Mapping[str, Iterable[str]] | None = None) -> Callable[[type[Kind]], type[Kind]]:
    """Make a decorator by which a dataclass checks the names of its arguments; ``elsewhere`` as in ``check_names``."""

    def decorate(kind: type[Kind]) -> type[Kind]:
        known, initialise = option_names(kind), kind.__init__

        @wraps(initialise)
        def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807
            check_names(kind.__name__, options, known, elsewhere)
            initialise(self, *args, **options)

        cast("Any", kind).__init__ = __init__
        return kind

    return decorate


def option_names(kind: type) -> list[str]:
    """Names of the arguments of a dataclass."""
    return [entry.name for entry in fields(kind) if entry.init]
