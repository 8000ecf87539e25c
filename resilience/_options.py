"""Settings of a call, as users give them and as the driver reads them."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypedDict

from resilience._core.policy.section import suggestion

INFINITE = float("inf")


class CallSettings(TypedDict, total=False):
    """What ``Guard.options`` and ``Guard.using`` take.  Times are seconds or timedelta."""

    max_attempts: int
    """Attempts in all, the first included (4)."""
    attempt_timeout: float | timedelta | None
    """For one attempt (None: no limit)."""
    deadline: float | timedelta | None
    """For the call, waits included (None)."""
    max_wait: float | timedelta | None
    """What the call may spend waiting for quotas and doors (60); None is for ever."""
    idempotent: bool | None
    """May it be repeated after it may have been done?  None asks the endpoint, then the method."""
    endpoint: str | None
    """The endpoint's name, instead of finding it by path or function name."""
    on_failure: Literal["raise", "return"]
    """``return`` gives the last result even if it failed."""
    cost: float
    """Units that the call takes of a quota (1): its tokens, for a limit on tokens per minute."""
    lane: Literal["calls", "looks"]
    """Whose call it is ("calls").  When both wait for one quota, each lane gets half of it."""
    hedge: float | None
    """``call`` only: if it may be repeated and takes longer than this share of the calls before (0.95),
    ask once more and take the first answer (None: never)."""
    stream: bool
    """The result is a stream (False).  Changes nothing: a stream of events is known by its content
    type, only its first event is looked at, and nothing is repeated once it was handed out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``CallSettings`` with their defaults, checked."""

    max_attempts: int = 4
    attempt_timeout: float | timedelta | None = None
    deadline: float | timedelta | None = None
    max_wait: float | timedelta | None = 60.0
    idempotent: bool | None = None
    endpoint: str | None = None
    cost: float = 1.0
    lane: str = "calls"
    on_failure: str = "raise"
    hedge: float | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            msg = f"max_attempts={self.max_attempts!r}: at least 1, the first attempt included"
            raise ValueError(msg)
        if self.on_failure not in ("raise", "return"):
            msg = f"on_failure={self.on_failure!r}: 'raise' or 'return'"
            raise ValueError(msg)
        if not 0 < self.cost < INFINITE:
            msg = f"cost={self.cost!r}: units of a quota, a number above 0"
            raise ValueError(msg)
        if self.lane not in ("calls", "looks"):
            msg = f"lane={self.lane!r}: 'calls' or 'looks'"
            raise ValueError(msg)
        if self.hedge is not None and not 0 < self.hedge < 1:
            msg = f"hedge={self.hedge!r}: a share of the calls, between 0 and 1, or None"
            raise ValueError(msg)
        for name in ("attempt_timeout", "deadline", "max_wait"):
            value = getattr(self, name)
            if value is not None and not seconds(value) >= 0:
                msg = f"{name}={value!r}: seconds (or a timedelta) of at least 0, or None"
                raise ValueError(msg)

    def changed(self, changes: dict[str, Any]) -> "Options":
        """A copy with some settings replaced."""
        for name in changes:
            if name not in self.__slots__:
                hint = suggestion(name, self.__slots__)
                raise TypeError(f"there is no setting {name!r}{hint}: {', '.join(self.__slots__)}")
        return replace(self, **changes) if changes else self


def seconds(value: float | timedelta | None) -> float:
    """Seconds of a time setting; None is for ever."""
    if value is None:
        return INFINITE
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
