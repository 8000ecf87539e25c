"""How a deployment of MemOS Cloud behaves: one frozen value with all that can be chosen."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from pollers.emulator.choices import changed, one_of
from pollers.emulator.quotas import Limit

Seconds = float | tuple[float, float]
"""A time, or the least and the most of one that is drawn from the seeded generator."""

StatusShape = Literal["object", "list"]
StreamEnd = Literal["end", "done"]
StreamErrors = Literal["body", "event"]

# https://memos-docs.openmem.net/memos_cloud/support/limit (2026): both are the account's, all keys
# and projects together.
DOCUMENTED_LIMITS: Mapping[str, Limit] = {
    "calls": Limit(50, 1.0),
    "tokens": Limit(400_000, 60.0),
}

_BYTES_PER_TOKEN = 4


def estimate_tokens(text: str) -> int:
    """Tokens of a text: a quarter of its UTF-8 bytes, rounded up."""
    return math.ceil(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemosSettings:
    """All that can be chosen about the emulator.

    Attributes:
        keys: Account by key, or keys of the default account; None accepts any key.  Without
            "Token " before it; requests must have it.
        disabled_keys: Keys of disabled accounts.
        limits: `(count, per)` of "calls" (answered 40300) and "tokens" (input tokens, 40309) for an
            account, `per` in seconds, over the documented ones; None for no limit.
        retry_after: Whether a broken limit is answered with a Retry-After header (whole seconds).
        tokens_of: Counts the tokens of a text.
        input_tokens: The most tokens of one call; more is 40305.
        chat_tokens: The most tokens of the query and the prompt of a chat; more is 40303.
        status_shape: get/status answers an "object", or a "list" with the code 200, as it used to.
        visibility_delay: Seconds after an add during which reads don't know its task or file.
        task_seconds: Time that a task takes.
        file_seconds: Time that a file takes.
        failing: Share of added tasks and files that fail, drawn from the seeded generator.
        knowledgebases: Knowledge bases that an account may have; one more is 50121.
        max_file_bytes: Larger files are 50106.
        stream_end: How a streamed chat ends: an event with `"type": "end"`, or `[DONE]`, with
            chunks as `{"response": …}`.
        stream_errors: Whether a fault of a streamed chat comes as a JSON "body" instead of the
            stream, or as its first "event".
        chunk_seconds: Time between the events of a streamed chat.
        control: Whether the control interface under `/_emulator/` answers.
        seed: Seed of everything that is drawn.
    """

    keys: Mapping[str, str] | Iterable[str] | None = field(default=None, repr=False)
    disabled_keys: Iterable[str] = field(default=(), repr=False)
    limits: Mapping[str, tuple[int, float] | None] = field(default_factory=dict)
    retry_after: bool = False
    tokens_of: Callable[[str], int] = estimate_tokens
    input_tokens: int = 40_000
    chat_tokens: int = 8_000
    status_shape: StatusShape = "object"
    visibility_delay: float = 0.0
    task_seconds: Seconds = (1.0, 3.0)
    file_seconds: Seconds = (2.0, 6.0)
    failing: float = 0.0
    knowledgebases: int = 10
    max_file_bytes: int = 100 * 1024 * 1024
    stream_end: StreamEnd = "end"
    stream_errors: StreamErrors = "body"
    chunk_seconds: float = 0.0
    control: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse words and limits that don't exist."""
        one_of("status_shape", self.status_shape, ("object", "list"))
        one_of("stream_end", self.stream_end, ("end", "done"))
        one_of("stream_errors", self.stream_errors, ("body", "event"))
        if not 0.0 <= self.failing <= 1.0:
            raise ValueError(f"failing must be from 0 to 1, not {self.failing!r}")
        for name in self.limits:
            limit_name(name)

    def all_limits(self) -> dict[str, Limit]:
        """The documented limits with those of these settings over them."""
        chosen = {name: limit and Limit(*limit) for name, limit in self.limits.items()}
        merged = {**DOCUMENTED_LIMITS, **chosen}
        return {name: limit for name, limit in merged.items() if limit is not None}

    def changed(self, **changes: object) -> "MemosSettings":
        """These settings with others over them.

        Raises:
            ValueError: One of them only says what the emulator starts with.
        """
        return changed(self, _AT_START, changes)


_AT_START = frozenset({"keys", "disabled_keys", "limits", "control", "seed"})


class MemosOptions(TypedDict, total=False):
    """The fields of `MemosSettings` as keyword arguments; a test holds both together."""

    keys: Mapping[str, str] | Iterable[str] | None
    disabled_keys: Iterable[str]
    limits: Mapping[str, tuple[int, float] | None]
    retry_after: bool
    tokens_of: Callable[[str], int]
    input_tokens: int
    chat_tokens: int
    status_shape: StatusShape
    visibility_delay: float
    task_seconds: Seconds
    file_seconds: Seconds
    failing: float
    knowledgebases: int
    max_file_bytes: int
    stream_end: StreamEnd
    stream_errors: StreamErrors
    chunk_seconds: float
    control: bool
    seed: int


def limit_name(name: str) -> str:
    """The name of a limit.

    Raises:
        ValueError: There is no such limit.
    """
    one_of("a limit", name, tuple(DOCUMENTED_LIMITS))
    return name
