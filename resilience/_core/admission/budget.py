"""The retry budget of one endpoint: retries may be so many per call that went, and no more.

When an endpoint fails for everybody, retries multiply the load just when it can bear it least.  A
budget bounds the factor (Finagle's ``RetryBudget``, gRPC A6, Envoy's ``retry_budget``).  A retry pays
when it is scheduled, not when it leaves, or all that back off would be free (envoy#30205), and gets
its token back if it never leaves.  If nothing is left it waits for its token; the floor, a rate,
lets it have one some time.
"""

from dataclasses import dataclass

_NONE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """Settings of the budgets, one per endpoint.

    Args:
        ratio: retries per call that went (0.2).
        floor: retries per second that are always possible (2).
        burst: retries that can be saved up (20).

    Raises:
        ValueError: a value that makes no sense.
    """

    ratio: float = 0.2
    floor: float = 2.0
    burst: float = 20.0

    def __post_init__(self) -> None:
        if not self.ratio >= 0:
            msg = f"RetryBudget(ratio={self.ratio!r}): retries per call, at least 0"
            raise ValueError(msg)
        if not self.floor > 0:  # a retry must get its token some time
            msg = f"RetryBudget(floor={self.floor!r}): retries per second, above 0"
            raise ValueError(msg)
        if not self.burst >= 1:
            msg = f"RetryBudget(burst={self.burst!r}): retries, at least 1"
            raise ValueError(msg)


class Budget:
    """Live state.  ``sent`` is how many calls of the endpoint went, ever; times are loop seconds."""

    __slots__ = ("_at", "_mark", "settings", "tokens")

    def __init__(self, settings: RetryBudget | None) -> None:
        self.settings = settings
        self.tokens = settings.burst if settings else float("inf")
        self._at: float | None = None
        self._mark = 0

    def refill(self, sent: int, now: float) -> None:
        """Count what went since, and the time that passed."""
        if self.settings is None:
            return
        earned = max(sent - self._mark, 0) * self.settings.ratio
        # another event loop may have an earlier clock
        passed = 0.0 if self._at is None else max(now - self._at, 0.0)
        # what was rejected is not counted any more, and must not be earned by twice
        self._mark, self._at = max(sent, self._mark), now
        self.tokens = min(self.settings.burst, self.tokens + earned + passed * self.settings.floor)

    def charge(self, sent: int, now: float) -> bool:
        """Take a token, if there is one."""
        self.refill(sent, now)
        if self.tokens < 1.0 - _NONE:
            return False
        self.tokens -= 1.0
        return True

    def refund(self) -> None:
        """The retry never left."""
        if self.settings is not None:
            self.tokens = min(self.settings.burst, self.tokens + 1.0)

    def retried(self) -> None:
        """A call that went was a retry: it earns nothing."""
        self._mark += 1

    def took_back(self) -> None:
        """A retry that went did not go after all."""
        self._mark -= 1
        self.refund()

    def wait(self, sent: int, now: float) -> float:
        """Seconds until there is a token for sure."""
        self.refill(sent, now)
        if self.settings is None or self.tokens >= 1.0 - _NONE:
            return 0.0
        return (1.0 - self.tokens) / self.settings.floor
