"""What ``extends`` means: tables merge key by key and endpoints by name; all else is replaced."""

from collections.abc import Mapping
from typing import Any

BEHAVIOUR = ("recovers", "wait", "jitter", "scope", "escalate", "max_attempts", "certainty")
"""What belongs to a verdict: with another one it says nothing any more."""


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; anything else in ``change`` replaces what was there.

    A rule that is given another verdict keeps its words, but not the behaviour of the old one.
    """
    merged = dict(base)
    if "verdict" in change and change["verdict"] != base.get("verdict"):
        merged = {key: value for key, value in base.items() if key not in BEHAVIOUR}
    for key, value in change.items():
        here = merged.get(key)
        whole = key == "wait" and isinstance(value, Mapping) and {"backoff", "until"} & set(value)
        if whole:
            merged[key] = value  # another generator has other arguments
        elif isinstance(here, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(here, value)
        elif key == "endpoints" and isinstance(here, list) and isinstance(value, list):
            merged[key] = _merged_endpoints(here, value)
        else:
            merged[key] = value
    return merged


def _merged_endpoints(base: list[Any], change: list[Any]) -> list[Any]:
    """By name, the changed ones first: they are matched in order, and the user's word counts."""
    named = {name: item for item in base if (name := _name_of(item))}
    mine = [
        {**named.get(name, {}), **item} if (name := _name_of(item)) else item for item in change
    ]
    names = {_name_of(item) for item in change} - {""}
    return [*mine, *(item for item in base if _name_of(item) not in names)]


def _name_of(item: Any) -> str:
    """The name of an endpoint; empty if what stands there has none that can be one."""
    name = item.get("name") if isinstance(item, Mapping) else ""
    return name if isinstance(name, str) else ""
