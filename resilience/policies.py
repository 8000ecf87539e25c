"""Policies as users hold them: loaded from a catalog or a file, changed from Python.

The table itself is compiled and consulted in ``_core.policy``, files are read in ``_files``; this
module reads the one environment variable.
"""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from resilience._core.policy.build import build
from resilience._core.policy.classify import CLIENT_ERROR, SUCCESS_RULE, classify
from resilience._core.policy.model import Classification, Endpoint, Outcome, Rule, Verdict
from resilience._core.policy.plain import plain_success
from resilience._core.policy.positions import Document
from resilience._core.policy.reader import is_text
from resilience._core.policy.section import PolicyError
from resilience._core.policy.table import Table
from resilience._files import ancestors, catalogs, merged, read

__all__ = ("Policy", "catalogs", "fatal", "quota", "retryable", "success")

ENVIRONMENT = "RESILIENCE_POLICY"
"""Names a policy file.  ``Policy.load()`` loads it, and ``Policy.load("memories_ai")`` prefers it
to the catalog if the file's policy is called ``memories_ai``."""

KEPT = ("aliases", "docs", "edition", "remedy", "title")
"""What ``with_codes`` keeps of the rule that it replaces."""

Behaviour = Mapping[str, Any]


def success() -> Behaviour:
    """A code that means success."""
    return {"verdict": "success"}


def retryable(
    *,
    wait: float | timedelta | Mapping[str, Any] | None = None,
    max_attempts: int | None = None,
    certainty: str | None = None,
    **other: Any,
) -> Behaviour:
    """A code that passes by itself.

    Args:
        wait: seconds, or a table such as ``{"backoff": "expo", "max_value": 30}``.
        max_attempts: attempts in all, the first included.
        certainty: ``not_executed``, ``maybe_executed`` (the default) or ``executed``.
        other: further fields of a rule, as in a policy file.
    """
    return _fields("retryable", wait=wait, max_attempts=max_attempts, certainty=certainty, **other)


def quota(
    recovers: str = "window",
    *,
    scope: str = "endpoint",
    wait: float | timedelta | Mapping[str, Any] | None = None,
    probe_every: float | None = None,
    **other: Any,
) -> Behaviour:
    """A code that speaks about a quota.

    Args:
        recovers: ``window``, ``cooldown``, ``exhausted`` or ``capacity``.
        scope: ``request``, ``endpoint``, ``account`` or a group of the policy.
        wait: seconds, a backoff table, or ``{"until": "midnight", "tz": "Asia/Shanghai"}``.
        probe_every: seconds between probes while exhausted.
        other: further fields of a rule, as in a policy file.
    """
    return _fields(
        "quota", recovers=recovers, scope=scope, wait=wait, probe_every=probe_every, **other
    )


def fatal(*, scope: str | None = None, **other: Any) -> Behaviour:
    """A code that repeating can't cure; ``scope="account"`` makes everybody else fail fast too."""
    return _fields("fatal", scope=scope, **other)


def _fields(verdict: str, **given: Any) -> Behaviour:
    plain = {
        key: value.total_seconds() if isinstance(value, timedelta) else value
        for key, value in given.items()
        if value is not None
    }
    return {"verdict": verdict, **plain}


class Policy:
    """A frozen table of rules for one provider.

    Make one with :meth:`load` or :meth:`from_dict`; every change gives a new policy.
    """

    __slots__ = ("_data", "plain", "source", "table")

    def __init__(self, data: Mapping[str, Any], *, source: str) -> None:
        self._data = data
        self.source = source
        self.table: Table = build(data, source=source)
        self.plain = plain_success(self.table)

    @classmethod
    def load(cls, name: str | os.PathLike[str] | None = None) -> Self:
        """A catalog by name (``"memories_ai"``), or a TOML file by path.

        Without a name, the file that ``$RESILIENCE_POLICY`` names.

        Raises:
            PolicyError: no such catalog or file, or something in it is wrong.
        """
        chosen = os.environ.get(ENVIRONMENT)
        if name is None:
            if not chosen:
                msg = f"give a policy's name or path, or set ${ENVIRONMENT}"
                raise PolicyError(msg)
            data, source = read(chosen)
            return cls(data, source=source)
        if chosen and os.fspath(name) in catalogs():
            data, source = read(chosen)
            if data.get("name") == name:
                return cls(data, source=source)
        data, source = read(os.fspath(name))
        return cls(data, source=source)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "a dict") -> Self:
        """A policy from the same tables that a file has; ``extends`` works too."""
        own = dict(data)
        parent = own.pop("extends", None)
        here = Document(source=source, file="", data=own)
        return cls(merged([here, *ancestors(here, parent)]), source=source)

    def with_codes(self, changes: Mapping[str | int, Behaviour]) -> Self:
        """The same policy with other behaviour for some codes; title, remedy and docs stay.

        Raises:
            PolicyError: a field is wrong.
        """
        codes = dict(self._data.get("codes", {}))
        for given, behaviour in changes.items():
            code = self._canonical(str(given))
            if not isinstance(behaviour, Mapping):
                raise PolicyError(
                    f"with_codes: {code}: {behaviour!r} is not a behaviour: write fatal(), quota(…), "
                    "retryable(…) or success()"
                )
            kept = {key: value for key, value in codes.get(code, {}).items() if key in KEPT}
            codes[code] = {**kept, **behaviour}
        return type(self)({**self._data, "codes": codes}, source=f"{self.source} + with_codes")

    def _canonical(self, code: str) -> str:
        for listed, rule in self._data.get("codes", {}).items():
            if code in rule.get("aliases", ()):
                return str(listed)
        return code

    def classify(
        self,
        body: Any = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        exception: BaseException | None = None,
        endpoint: str = "other",
        method: str | None = None,
        now: float | None = None,
    ) -> Classification:
        """What this answer means.  Never raises.

        Args:
            body: JSON text or bytes, a mapping, or an object whose attributes stand for keys.
            status: HTTP status.
            headers: response headers, any case.
            exception: what was raised instead of an answer.
            endpoint: name of the endpoint; some codes mean different things on different ones.
            method: HTTP method.
            now: seconds since the epoch, to measure a ``Retry-After`` date by where the answer has
                no ``Date`` header.
        """
        outcome = Outcome(
            body=body,
            status=status,
            headers=headers or {},
            exception=exception,
            is_json=is_text(body),
            method=method,
        )
        return classify(self.table, outcome, endpoint=endpoint, wall=now)

    def explain(
        self, code: str | int, *, message: str = "", status: int = 200, endpoint: str = "other"
    ) -> Classification:
        """What the policy says about a code, as if it had come in the provider's own envelope.

        ``code`` may also be an HTTP status (``503``) or the name of an exception.
        """
        text = str(code)
        rule = self.table.rule_for_code(text, message=message, status=status, endpoint=endpoint)
        if rule is None and any(text in envelope.success for envelope in self.table.envelopes):
            rule = SUCCESS_RULE
        if status >= CLIENT_ERROR and (rule is None or rule.verdict is Verdict.SUCCESS):
            rule = self.table.rule_for_status(status) or self.table.unknown
        if rule is None and re.fullmatch("[1-5][0-9]{2}", text):
            rule = self.table.rule_for_status(int(text))
        rule = rule or self.table.exceptions.get(text) or self.table.unknown
        return Classification(
            verdict=rule.verdict, code=text, message=message, rule=rule, matched_by=rule.key,
            status=status,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.table.name

    @property
    def version(self) -> str:
        """``name@hash``: changes whenever any rule does."""
        return self.table.version

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that adapters touch by default."""
        return self.table.hosts

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The named endpoints."""
        return self.table.endpoints

    @property
    def codes(self) -> Mapping[str, Rule]:
        """Every listed code (aliases too) with its own rule."""
        return {code: entry.rule for code, entry in self.table.codes.items()}

    def __repr__(self) -> str:
        return f"<Policy {self.version} from {self.source}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self._data), self.source)


def _rebuild(cls: type[Policy], data: Mapping[str, Any], source: str) -> Policy:
    return cls(data, source=source)
