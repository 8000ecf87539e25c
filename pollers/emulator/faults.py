"""Scripted faults: what goes wrong, for which interface, and how many times.

A fault is drawn when a request arrives, before the key is looked at.  With `after_work=False` it is
an answer of the infrastructure in front of the API: nothing is done, counted or charged.  With
`after_work=True` the request is carried out first and only its answer is spoilt: the client cannot
know that the work was done.  Such a fault waits for a request that is carried out: when the API
itself refuses one (a limit, a key, a parameter), that refusal is sent and the fault is kept.

Faults of one name are used first in, first out; those of the path go before those of the interface,
and those before the ones for "any".
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

BodyKind = Literal[
    "envelope", "json", "html", "spring", "empty", "null", "truncated", "huge", "text"
]
Abort = Literal["before", "middle"]

INTERFACES: Mapping[str, tuple[str, ...]] = {
    "upload": ("upload_file", "upload_url"),
    "list": ("list_videos",),
    "metadata": ("get_metadata",),
    "delete": ("delete_videos",),
    "task": ("get_video_ids_by_task_id",),
    "scrape": (
        *("scraper", "scraper_tag", "scraper_url"),
        *("scraper_public", "scraper_tag_public", "scraper_url_public"),
    ),
    "search": ("search",),
    "chat": ("chat_json", "chat_stream"),
    "download": ("download",),
    "v2_upload": ("upload_asset",),
    "v2_metadata": ("asset_metadata",),
    "v2_delete": ("delete_asset",),
    "v2_task": ("task_status",),
    "v2_job": ("mai_transcript",),
    "v2_transcription": ("transcribe_audio",),
    "vlm": ("vlm_chat",),
    "datalake_ingest": ("ingest_video",),
    "datalake_read": ("get_video", "list_lake", "get_operation", "get_derived"),
    "datalake_search": ("search_moments",),
}
"""The interfaces of Memories.ai, and the names of their paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    A fault that says nothing about the answer (only `delay` or `headers`) lets the request be
    carried out, late or with these headers.

    Attributes:
        code: Code of the envelope; text with its zeros, or a number.  On Visual Intelligence and the
            Datalake the code also decides the status; "errored" is a failure of the VLM's model.
        msg: Message of the envelope; by default the documented one of the code.  Alone and with
            `after_work`, it is what a chat's stream says at its end, in the place of "Done".
        status: HTTP status; 200 by default, or what goes with the code.
        body: "envelope" (code and message), "json" (the same, also where the answer would be a
            stream), "html" and "spring" (a proxy's error page, and the framework's
            `{timestamp, path, status, error, requestId}`), "empty", "null" (a success with
            `data: null`), "truncated" (half of the JSON, its length right), "huge" (`huge_bytes` of
            valid JSON), "text" (what `text` says).  By default an envelope if there is a code, the
            Spring body if there is only a status of 400 or more.  With `after_work`, the envelope
            comes in the middle of a stream.
        text: The whole body, sent as it is.
        headers: Added to the answer, or replacing what it has, like `{"Retry-After": "3"}`.
        delay: Seconds on the loop's clock before the answer (`inf`: none until the server closes).
        abort: Cut the connection "before" anything was sent or in the "middle" of the body.
        times: How often; None for ever.
        probability: Chance that a request meets it, drawn from the emulator's seeded generator.
        after_work: Whether the request was carried out before.
        huge_bytes: Size of a "huge" body.
        name: How the log of requests calls it; made from the fields if empty.
    """

    code: str | int | None = None
    msg: str | None = None
    status: int | None = None
    body: BodyKind | None = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    abort: Abort | None = None
    times: int | None = 1
    probability: float = 1.0
    after_work: bool = False
    huge_bytes: int = 16 * 1024 * 1024
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what could never happen, and give the fault a name."""
        if self.body is not None and self.body not in get_args(BodyKind):
            raise ValueError(f"body must be one of {get_args(BodyKind)}, not {self.body!r}")
        if self.abort is not None and self.abort not in get_args(Abort):
            raise ValueError(f"abort must be one of {get_args(Abort)}, not {self.abort!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, or None for ever, not {self.times!r}")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability must be from 0 to 1, not {self.probability!r}")
        if not self.delay >= 0.0:
            raise ValueError(f"delay must not be negative, not {self.delay!r}")
        if self.status is not None and not 200 <= self.status <= 599:  # noqa: PLR2004 HTTP's range
            raise ValueError(f"status must be from 200 to 599, not {self.status!r}")
        if not self.name:
            object.__setattr__(self, "name", self._made_name())

    @property
    def replaces(self) -> bool:
        """Whether something else than the request's own answer is sent."""
        shapes = (self.code, self.msg, self.status, self.body, self.text, self.abort)
        return any(shape is not None for shape in shapes)

    def _made_name(self) -> str:
        parts = [
            "" if self.code is None else str(self.code),
            "" if self.status is None else f"http-{self.status}",
            self.body or "",
            "" if self.text is None else "text",
            f"abort-{self.abort}" if self.abort else "",
            "headers" if self.headers else "",
            "delay" if self.delay else "",
            "after-work" if self.after_work else "",
        ]
        return "+".join(part for part in parts if part) or "nothing"


@dataclass(slots=True, eq=False)
class Armed:
    """A fault with the number of times it is still good for, in its queue."""

    fault: Fault
    left: int | None
    queue: "list[Armed]"

    def use(self) -> None:
        """Spend one time."""
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.queue.remove(self)

    def put_back(self) -> None:
        """Undo one `use`: the request was refused before the fault could show."""
        if self.left is not None:
            self.left += 1
            if self.left == 1:
                self.queue.insert(0, self)


def canonical(name: str, interfaces: Mapping[str, tuple[str, ...]] = INTERFACES) -> str:
    """The name of an interface, from its own or its only path's.

    Raises:
        ValueError: There is no such interface.
    """
    aliases = {paths[0]: own for own, paths in interfaces.items() if len(paths) == 1}
    paths = (path for paths in interfaces.values() if len(paths) > 1 for path in paths)
    names = {"any", *paths, *interfaces}
    name = aliases.get(name, name)
    if name not in names:
        known = sorted(names | aliases.keys())
        raise ValueError(f"unknown interface {name!r}; there are {', '.join(known)}")
    return name


def interface_of(name: str) -> str:
    """The interface that a limit of this name is for.

    Raises:
        ValueError: There is no such interface.
    """
    name = canonical(name)
    if name == "any":
        raise ValueError("a limit is for one interface, not for 'any'")
    return next((own for own, paths in INTERFACES.items() if name in paths), name)


class FaultBook:
    """The faults that wait for a request."""

    def __init__(
        self, chance: random.Random, interfaces: Mapping[str, tuple[str, ...]] = INTERFACES
    ) -> None:
        self._chance = chance
        self._interfaces = interfaces
        self._queues: dict[str, list[Armed]] = {}

    def add(self, interface: str, fault: Fault) -> None:
        """Append a fault to the queue of an interface, a path, or "any"."""
        queue = self._queues.setdefault(canonical(interface, self._interfaces), [])
        queue.append(Armed(fault=fault, left=fault.times, queue=queue))

    def draw(self, names: Sequence[str]) -> Armed | None:
        """Use the first fault that applies to one of these names, if there is one."""
        for name in names:
            for armed in self._queues.get(name, ()):
                probability = armed.fault.probability
                if probability >= 1.0 or self._chance.random() < probability:
                    armed.use()
                    return armed
        return None

    def clear(self) -> None:
        """Forget all faults."""
        for queue in self._queues.values():
            queue.clear()

    def waiting(self) -> dict[str, list[str]]:
        """Names of the faults that are still to come, by queue."""
        return {
            name: [armed.fault.name for armed in queue]
            for name, queue in self._queues.items()
            if queue
        }
