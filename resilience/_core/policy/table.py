"""The compiled policy: dialects, rules and endpoints, ready to be looked up in O(1).

Built by ``build.py`` from a validated mapping; immutable afterwards.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from typing import Any

from resilience._core.policy.model import Endpoint, Rule
from resilience._core.policy.reader import OPAQUE, Reader

OTHER = "other"
LONGEST_CODE = 100
"""Characters kept: a code ends up in records, and anybody may send anything."""
UNPRINTABLE = "(unprintable)"
"""Stands for a code that is there but can't be shown; it is certainly no success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One dialect of a provider: where its code, message and flags stand (JSON pointers)."""

    required: tuple[str, ...]
    code: str | None = None
    message: str | None = None
    retry_after: str | None = None
    success: frozenset[str] = frozenset()
    failed_when: tuple[tuple[str, Any, str | None], ...] = ()
    """(pointer, value or pattern of a text, the code that this failure is given or None)."""
    as_status: Mapping[str, int] = field(default_factory=dict)
    """Codes that mean what an HTTP status means, whatever status they came under."""

    def pointers(self) -> list[str]:
        """Everything that has to be read for this dialect."""
        named = [self.code, self.message, self.retry_after]
        return [
            *self.required,
            *(pointer for pointer in named if pointer),
            *(pointer for pointer, _, _ in self.failed_when),
        ]

    def code_in(self, found: Mapping[str, Any]) -> str | None:
        """The code as text, or None when there is none."""
        return code_text(found.get(self.code)) if self.code else None

    def message_in(self, found: Mapping[str, Any]) -> str:
        """The provider's message; empty when there is none."""
        value = found.get(self.message) if self.message else None
        return value if isinstance(value, str) else ""

    def failed_flag(self, found: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """The pointer of the first flag that says "failed", and the code it stands for."""
        for pointer, value, code in self.failed_when:
            if _is_like(found.get(pointer, OPAQUE), value):
                return pointer, code
        return None, None


def _is_like(here: Any, value: Any) -> bool:
    """Whether a text has the pattern, or a scalar is the value (``True`` is not 1)."""
    if isinstance(value, re.Pattern):
        return isinstance(here, str) and value.search(here) is not None
    return bool(here == value) and isinstance(here, bool) == isinstance(value, bool)


def code_text(value: Any) -> str | None:
    """A code as text: ``429`` and ``429.0`` become ``"429"``, ``"0429"`` stays."""
    if value is None or value is OPAQUE or isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return str(value)[:LONGEST_CODE].strip() or None
    except ValueError:  # an integer of more than 4300 digits
        return UNPRINTABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRules:
    """All that a policy says about one code."""

    rule: Rule
    when: tuple["When", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A condition under which a code means something else; what is None does not matter."""

    rule: Rule
    message: re.Pattern[str] | None = None
    status: int | None = None
    endpoint: str | None = None

    def holds(self, *, message: str, status: int | None, endpoint: str) -> bool:
        """Whether every stated condition is met."""
        return (
            (self.message is None or self.message.search(message) is not None)
            and (self.status is None or self.status == status)
            and (self.endpoint is None or self.endpoint == endpoint)
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """A compiled policy."""

    name: str
    version: str
    docs: str = ""
    hosts: tuple[str, ...] = ()
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    envelopes: tuple[Envelope, ...] = ()
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    codes: Mapping[str, CodeRules] = field(default_factory=dict)
    """Aliases included: two keys may share one value."""
    families: Mapping[str, Rule] = field(default_factory=dict)
    """Most specific first."""
    http: Mapping[str, Rule] = field(default_factory=dict)
    http_families: Mapping[str, Rule] = field(default_factory=dict)
    exceptions: Mapping[str, Rule] = field(default_factory=dict)
    unknown: Rule

    @cached_property
    def reader(self) -> Reader:
        """Reads every pointer that any dialect needs."""
        return Reader(pointer for envelope in self.envelopes for pointer in envelope.pointers())

    def envelope_of(self, found: Mapping[str, Any]) -> Envelope | None:
        """The first dialect whose required pointers are all there."""
        for envelope in self.envelopes:
            if all(pointer in found for pointer in envelope.required):
                return envelope
        return None

    def rule_for_code(
        self, code: str, *, message: str = "", status: int | None = None, endpoint: str = OTHER
    ) -> Rule | None:
        """``when`` list, own rule, most specific family, the status that the code stands for.

        None if nothing speaks about the code.
        """
        entry = self.codes.get(code)
        if entry is None:
            stands_for = self._as_status.get(code)
            return _in_family(self.families, code) or (
                self.rule_for_status(stands_for) if stands_for else None
            )
        for when in entry.when:
            if when.holds(message=message, status=status, endpoint=endpoint):
                return when.rule
        return entry.rule

    def rule_for_status(self, status: int) -> Rule | None:
        """The rule of an HTTP status, or of its class."""
        return self.http.get(str(status)) or _in_family(self.http_families, str(status))

    def rule_for_exception(self, error: BaseException) -> Rule | None:
        """The rule of the most specific listed class of an exception, along its MRO."""
        for cls in type(error).__mro__:
            rule = self.exceptions.get(class_name(cls))
            if rule is not None:
                return rule
        return None

    def rule_for_cause(self, error: BaseException) -> Rule | None:
        """The rule of what an SDK's own exception was raised ``from``: a connection's, mostly.

        An answer that made no sense (``ValueError``, ``LookupError``) is the SDK's to interpret.
        """
        cause = error.__cause__
        if cause is None or isinstance(cause, (ValueError, LookupError)):
            return None
        return self.rule_for_exception(cause)

    def endpoint_of_request(self, method: str, path: str) -> str:
        """The name of the first endpoint that matches, or ``other``."""
        for pattern, name in self._request_patterns:
            if pattern.match(f"{method.upper()} {path}"):
                return name
        return OTHER

    def endpoint_of_function(self, name: str) -> str:
        """The endpoint that a function's name stands for, or ``other``.

        ``list_videos`` is the endpoint called so, or one with ``POST */list_videos``; the SDK
        spelling ``add_message`` is ``POST */add/message``.
        """
        return name if name in self.endpoints else self._function_names.get(name, OTHER)

    @cached_property
    def _as_status(self) -> dict[str, int]:
        return {code: n for envelope in self.envelopes for code, n in envelope.as_status.items()}

    @cached_property
    def _request_patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [
            (re.compile(translate(pattern)), endpoint.name)
            for endpoint in self.endpoints.values()
            for pattern in endpoint.match
        ]

    @cached_property
    def _function_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for endpoint in self.endpoints.values():
            names.update(dict.fromkeys(endpoint.functions, endpoint.name))
            for pattern in endpoint.match:
                path = pattern.split(" ", 1)[-1].strip("*/")
                names.setdefault(re.sub(r"\W+", "_", path), endpoint.name)
        return names


def class_name(cls: type) -> str:
    """How policies spell a class: ``TimeoutError``, ``aiohttp.ClientConnectorError``.

    httpx2 is the successor of httpx and has the same classes, so one word stands for both.
    """
    if cls.__module__ == "builtins":
        return cls.__qualname__
    room = cls.__module__.split(".", 1)[0]
    return f"{'httpx' if room == 'httpx2' else room}.{cls.__qualname__}"


def _in_family(families: Mapping[str, Rule], code: str) -> Rule | None:
    for family, rule in families.items():
        if len(family) == len(code) and all(
            a == b or (a == "x" and b.isdigit()) for a, b in zip(family, code, strict=True)
        ):
            return rule
    return None
