"""How a deployment behaves: one frozen value with all that can be chosen.

Keys, limits and points are only what the emulator starts with; they change at run time through its
methods.  The rest changes through `MemoriesEmulator.configure`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

from .choices import changed, one_of, share_of
from .faults import interface_of
from .quotas import DOCUMENTED_LIMITS, Limit
from .videos import Video
from .wire import NO_PERMISSION, Dialect, Speech, TaskListing

ChatEnd = Literal["envelope", "text"]
ParseSeconds = float | Callable[[Video], float]

_SHARES = ("callback_early", "callback_loss", "callback_doubled", "callback_forged")

_BASE_SECONDS = 0.1
_SECONDS_PER_SECOND = 0.05


def default_parse_seconds(video: Video) -> float:
    """Seconds the parsing of a video takes if nothing else is said: grows with its duration."""
    return 1.5 * _BASE_SECONDS + _SECONDS_PER_SECOND * video.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be chosen about the emulator.

    Attributes:
        dialect: "2025" (numbers as strings, cause "null") or "2026" (integers, cause left out).
        failure_word: What reads call a failed video: "PARSE_ERROR", "FAILED", "FAIL", …
        keys: Account by key, or keys of the default account; None accepts any non-empty key.
        disabled_keys: Keys of disabled accounts.
        wrong_key_code: "9009" or "0401": the documents fit both.
        limits: `(calls, per)` by interface, `per` in seconds, over the documented ones; None for
            no limit.
        retry_after: Whether a broken limit is answered with a Retry-After header (whole seconds).
        points: Balance each account starts with; None: points are not counted.
        upload_cost: Points an upload costs.
        pause_when_empty: Whether an account without points is refused everywhere, not only uploads.
        ignore_video_nos: Whether list_videos answers a page of everything, whatever was asked for.
        ignore_tag: Whether list_videos answers as if no `tag` was asked for.
        default_size: Entries of a page if the request doesn't say; None: 20 in 2025, 200 in 2026.
        max_size: The most entries of a page; a larger `size` is cut to it.
        visibility_delay: Seconds after an upload during which reads don't know the video.
        repeated_delete: "0409", or "ignored": a silent success.
        callback_client_id: Value of `clientId` in callbacks; None leaves it out.
        task_listing: How the answer about a scraper task names its videos: bare "video_ids", or
            `videos` with their status and their number under "video_no" or "videoNo"; None:
            "video_ids" in 2025, "video_no" in 2026.
        scrape_seconds: Seconds between two videos of a scraper task that was posted.
        callback_early: Share of the videos and tasks whose first callback is made when parsing begins
            (still with "PARSE"); True is all of them.
        callback_times: How often a callback is made: 1, 2 for doubled, 0 for lost.
        callback_loss: Chance that a callback is lost, drawn from the seeded generator.
        callback_doubled: Share of the videos and tasks whose last callback is made once more.
        callback_forged: Share of the videos and tasks about which a stranger calls too, when parsing
            begins: with "FAIL", and with "PARSE" about a video that doesn't exist.
        decode: Whether uploads are decoded with PyAV; None: if it is installed.
        decode_workers: Videos decoded at the same time.
        parse_seconds: Seconds from upload to the end of parsing, or a function of the video
            (its duration is known by then); a slower decode takes what it takes.
        max_upload_bytes: Larger uploads are refused.
        chat_end: How a chat's stream ends: "envelope" (`{"code":"SUCCESS","data":"Done"}`) or "text"
            (`"Done"`); an error inside the stream stands in the place of Done.
        chat_quiet: Seconds of silence after the headers of a chat's stream, before its first event.
        chat_pause: Seconds between its events.
        not_ready_hint: The most seconds that Datalake's `video_not_ready` asks for; less if the
            video will be ready earlier.
        control: Whether the control interface under `/_emulator/` answers.
        seed: Seed of the generator for faults and callbacks.
    """

    dialect: Dialect = "2026"
    failure_word: str = "PARSE_ERROR"
    keys: Mapping[str, str] | Iterable[str] | None = field(default=None, repr=False)
    disabled_keys: Iterable[str] = field(default=(), repr=False)
    wrong_key_code: str = NO_PERMISSION
    limits: Mapping[str, tuple[int, float] | None] = field(default_factory=dict)
    retry_after: bool = False
    points: float | None = None
    upload_cost: float = 1.0
    pause_when_empty: bool = False
    ignore_video_nos: bool = False
    ignore_tag: bool = False
    default_size: int | None = None
    max_size: int = 200
    visibility_delay: float = 0.0
    repeated_delete: Literal["0409", "ignored"] = "0409"
    callback_client_id: str | None = None
    task_listing: TaskListing | None = None
    scrape_seconds: float = 0.5
    callback_early: float = 0.0
    callback_times: int = 1
    callback_loss: float = 0.0
    callback_doubled: float = 0.0
    callback_forged: float = 0.0
    decode: bool | None = None
    decode_workers: int = 2
    parse_seconds: ParseSeconds = default_parse_seconds
    max_upload_bytes: int = 3 * 1024**3
    chat_end: ChatEnd = "envelope"
    chat_quiet: float = 0.0
    chat_pause: float = 0.0
    not_ready_hint: float = 30.0
    control: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse words and interfaces that don't exist."""
        one_of("dialect", self.dialect, ("2025", "2026"))
        one_of("wrong_key_code", self.wrong_key_code, ("9009", "0401"))
        one_of("repeated_delete", self.repeated_delete, ("0409", "ignored"))
        one_of("chat_end", self.chat_end, ("envelope", "text"))
        for name in _SHARES:
            share_of(name, getattr(self, name))
        for name in self.limits:
            interface_of(name)
        if self.task_listing is not None:
            one_of("task_listing", self.task_listing, get_args(TaskListing))

    @property
    def speech(self) -> Speech:
        """How this deployment spells a video."""
        return Speech(self.dialect, self.failure_word, self.task_listing)

    @property
    def page_size(self) -> int:
        """Entries of a page if the request doesn't say."""
        return self.default_size or (20 if self.dialect == "2025" else 200)

    def all_limits(self) -> dict[str, Limit]:
        """The documented limits with those of these settings over them."""
        limits = dict(DOCUMENTED_LIMITS)
        for name, limit in self.limits.items():
            limits.pop(interface_of(name), None)
            if limit is not None:
                limits[interface_of(name)] = Limit(*limit)
        return limits

    def seconds_for(self, video: Video) -> float:
        """Seconds from upload to the end of parsing."""
        seconds = self.parse_seconds
        return seconds(video) if callable(seconds) else seconds

    def changed(self, **changes: object) -> "Settings":
        """These settings with others over them.

        Raises:
            ValueError: One of them only says what the emulator starts with.
        """
        return changed(self, _AT_START, changes)


_AT_START = frozenset(
    {
        *("keys", "disabled_keys", "wrong_key_code", "limits", "points"),
        *("decode", "decode_workers", "control", "seed"),
    }
)


class Options(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments; a test holds both together."""

    dialect: Dialect
    failure_word: str
    keys: Mapping[str, str] | Iterable[str] | None
    disabled_keys: Iterable[str]
    wrong_key_code: str
    limits: Mapping[str, tuple[int, float] | None]
    retry_after: bool
    points: float | None
    upload_cost: float
    pause_when_empty: bool
    ignore_video_nos: bool
    ignore_tag: bool
    default_size: int | None
    max_size: int
    visibility_delay: float
    repeated_delete: Literal["0409", "ignored"]
    callback_client_id: str | None
    task_listing: TaskListing | None
    scrape_seconds: float
    callback_early: float
    callback_times: int
    callback_loss: float
    callback_doubled: float
    callback_forged: float
    decode: bool | None
    decode_workers: int
    parse_seconds: ParseSeconds
    max_upload_bytes: int
    chat_end: ChatEnd
    chat_quiet: float
    chat_pause: float
    not_ready_hint: float
    control: bool
    seed: int
