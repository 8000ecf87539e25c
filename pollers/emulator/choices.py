"""Checking and changing settings, the same for every provider."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def one_of(what: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a word that nobody could mean.

    Raises:
        ValueError: The value is none of those allowed.
    """
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")


def share_of(what: str, value: float) -> None:
    """Refuse what is no share of anything.

    Raises:
        ValueError: The value isn't between 0 and 1.
    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{what} must be between 0 and 1, not {value!r}")


def changed(settings: T, at_start: Collection[str], changes: Mapping[str, object]) -> T:
    """Settings (a dataclass) with others over them.

    Raises:
        ValueError: One of them only says what the emulator starts with.
    """
    fixed = sorted(set(at_start) & changes.keys())
    if fixed:
        raise ValueError(f"{', '.join(fixed)} can't be changed while the emulator runs")
    whole: Any = settings
    done: T = dataclasses.replace(whole, **changes)
    return done
