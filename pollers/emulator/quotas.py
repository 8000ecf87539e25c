"""Who may call, how often, and for how many points.

Keys lead to accounts, and everything is counted by account: several keys of one account share one
quota, as the documents say.  A limit is a fixed window that opens with the first request and ends
`per` seconds later (INCR and EXPIRE of the usual store); a rejected request doesn't count.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .surface import Code, RefusedError
from .wire import NO_POINTS

DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` requests in a window of `per` seconds."""

    calls: int
    per: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a window that could not exist."""
        if self.calls < 0 or not self.per > 0:
            raise ValueError(f"a limit needs calls >= 0 and per > 0, not {self!r}")


# Rate-limit page of v1.2 (October 2025).  It has no line for get_metadata: the list's is taken.
# The line for the task status is the platform's of 2026.
DOCUMENTED_LIMITS: Mapping[str, Limit] = {
    "upload": Limit(1),
    "list": Limit(5),
    "metadata": Limit(5),
    "delete": Limit(5),
    "task": Limit(1),
    "scrape": Limit(1, 60.0),
    "search": Limit(10),
    "chat": Limit(1),
    "download": Limit(12, 60.0),
    # One a second is the rule of v2; the model's provider limits vlm.
    "v2_upload": Limit(1),
    "v2_metadata": Limit(1),
    "v2_delete": Limit(1),
    "v2_task": Limit(1),
    "v2_job": Limit(1),
    "v2_transcription": Limit(1),
    "datalake_search": Limit(5),
}


@dataclass(slots=True)
class _Window:
    ends: float
    used: int


class Windows:
    """The counters of all accounts and interfaces."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self.limits = dict(limits)
        self._windows: dict[tuple[str, str], _Window] = {}

    def set(self, interface: str, limit: Limit | None) -> None:
        """Change a limit from now on (None: no limit); open windows of the interface are closed."""
        if limit is None:
            self.limits.pop(interface, None)
        else:
            self.limits[interface] = limit
        for key in [key for key in self._windows if key[1] == interface]:
            del self._windows[key]

    def admit(self, account: str, interface: str, now: float, cost: int = 1) -> float | None:
        """Count a request; None if it may pass, else the seconds until the window ends."""
        limit = self.limits.get(interface)
        if limit is None:
            return None
        window = self._windows.get((account, interface))
        if window is None or now >= window.ends:
            window = self._windows[account, interface] = _Window(ends=now + limit.per, used=0)
        if window.used + cost > limit.calls:
            return window.ends - now
        window.used += cost
        return None


def raw_key(authorization: str | None) -> str | None:
    """The header is the key itself; "Bearer" is the commonest mistake, and is no key."""
    if not authorization or authorization.lower().startswith("bearer "):
        return None
    return authorization


class Keys:
    """The API keys that are good, and whose they are.

    Args:
        missing: Code of the answer to a request without a key.
        wrong: Code of the answer to a key that is nobody's.
        disabled: Code of the answer to a key of a disabled account.
        key_of: Finds the key in the Authorization header; None for none, "" for one in a wrong form.
    """

    def __init__(
        self,
        *,
        missing: Code,
        wrong: Code,
        disabled: Code,
        key_of: Callable[[str | None], str | None] = raw_key,
    ) -> None:
        self._accounts: dict[str, str] | None = None
        self._disabled: frozenset[str] = frozenset()
        self._missing, self._wrong, self._disabled_code = missing, wrong, disabled
        self._key_of = key_of

    def set(
        self, keys: Mapping[str, str] | Iterable[str] | None, disabled: Iterable[str] = ()
    ) -> None:
        """Replace all keys.

        Args:
            keys: Account by key, or keys of the default account; None accepts any non-empty key.
            disabled: Keys of disabled accounts, whether or not they are among `keys`.
        """
        if isinstance(keys, str):
            raise TypeError("keys must be a mapping or several keys, not one string")
        if keys is None or isinstance(keys, Mapping):
            self._accounts = None if keys is None else dict(keys)
        else:
            self._accounts = dict.fromkeys(keys, DEFAULT_ACCOUNT)
        self._disabled = frozenset(disabled)

    def account(self, authorization: str | None) -> str | None:
        """Whose key this is, disabled or not; None if it is nobody's."""
        key = self._key_of(authorization)
        if not key:
            return None
        if self._accounts is None or key in self._disabled:
            return (self._accounts or {}).get(key, DEFAULT_ACCOUNT)
        return self._accounts.get(key)

    def check(self, authorization: str | None) -> str:
        """Return the account of a good key.

        Raises:
            RefusedError: The key is missing, wrong or disabled.
        """
        account, key = self.account(authorization), self._key_of(authorization)
        if account is None:
            raise RefusedError(self._missing if key is None else self._wrong)
        if key in self._disabled:
            raise RefusedError(self._disabled_code)
        return account


class Points:
    """The balances of all accounts; each starts with the same number of points."""

    def __init__(self, start: float | None) -> None:
        self._start = start
        self._balances: dict[str, float] = {}

    def balance(self, account: str) -> float | None:
        """What is left; None if points are not counted."""
        return None if self._start is None else self._balances.get(account, self._start)

    def spend(self, account: str, points: float) -> None:
        """Take points away.

        Raises:
            RefusedError: There are not enough, and none were taken.
        """
        self.check(account, points)
        balance = self.balance(account)
        if balance is not None:
            self._balances[account] = balance - points

    def check(self, account: str, points: float) -> None:
        """Raise RefusedError if the account could not spend so much, or has nothing left."""
        balance = self.balance(account)
        if balance is not None and (balance <= 0 or balance < points):
            raise RefusedError(NO_POINTS)

    def top_up(self, account: str, points: float) -> None:
        """Add points (a negative number takes some away); counting begins if it hadn't."""
        if self._start is None:
            self._start = 0.0
        self._balances[account] = self._balances.get(account, self._start) + points
