"""What an account has: tasks, files, memories, knowledge bases.

As with videos, no timer drives a status: a task carries the instant at which it ends, and its status
is a comparison with the time of the request.  All instants are seconds on the event loop's clock.
"""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

from pollers.emulator.surface import Payload

COMPLETED = "completed"
FAILED = "failed"
RUNNING = "running"

_MEGABYTE = 1024 * 1024
T = TypeVar("T", bound="MemosTask")

_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")


@dataclass(slots=True, kw_only=True)
class MemosTask:
    """Something that is under way and ends.

    Attributes:
        id: What it is asked for by.
        account: Whose it is.
        visible_at: From when on reads know it.
        ends_at: When it ends; `inf` for never.
        outcome: How it ends: "completed", "failed", or any other text, which is reported as it is.
        pending: What it is called until then.
    """

    id: str
    account: str = "default"
    visible_at: float = -math.inf
    ends_at: float = math.inf
    outcome: str = COMPLETED
    pending: str = RUNNING

    def status_at(self, now: float) -> str:
        """The status text that a read reports at that instant."""
        return self.pending if now < self.ends_at else self.outcome


@dataclass(slots=True, kw_only=True)
class MemosFile(MemosTask):
    """A file of a knowledge base while it is read, and after; `size` is in bytes."""

    knowledgebase_id: str
    name: str
    type: str = "document"
    size: int = _MEGABYTE

    def uploaded(self, now: float) -> Payload:
        """An entry of the answer to an upload."""
        size = self.size / _MEGABYTE
        return {"id": self.id, "name": self.name, "sizeMB": size, "status": self.status_at(now)}

    def listed(self, now: float) -> Payload:
        """An entry of get/knowledgebase-file; the size is a text there."""
        return {
            "id": self.id,
            "type": self.type,
            "name": self.name,
            "size": f"{self.size / _MEGABYTE:.3f}MB",
            "status": self.status_at(now),
        }

    @property
    def ending(self) -> str:
        """The name's ending, in lower case, with its dot."""
        return PurePosixPath(self.name).suffix.lower()


@dataclass(slots=True, kw_only=True)
class Memory:
    """What is remembered of one message; gone again if its task fails."""

    id: str
    text: str
    owners: frozenset[str]
    conversation_id: str | None
    task: MemosTask
    created_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def kept_at(self, now: float) -> bool:
        """Whether it is there: from the request on, also while its task is running."""
        return self.task.status_at(now) != FAILED

    def matches(self, query: str) -> float:
        """The share of the query's words that it has, from 0 to 1."""
        asked = words(query)
        return len(asked & words(self.text)) / len(asked) if asked else 0.0

    def listed(self) -> Payload:
        """An entry of `memory_detail_list`."""
        return {
            "id": self.id,
            "memory_key": self.text[:40],
            "memory_value": self.text,
            "memory_type": "LongTermMemory",
            "create_time": self.created_ms,
            "update_time": self.created_ms,
            "conversation_id": self.conversation_id,
            "status": "activated",
            "confidence": 0.99,
            "tags": [],
        }


@dataclass(slots=True)
class Belongings:
    """All that all accounts have, by id."""

    tasks: dict[str, MemosTask] = field(default_factory=dict)
    files: dict[str, MemosFile] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    """Account by the id of a knowledge base."""
    memories: dict[str, Memory] = field(default_factory=dict)

    def task(self, task_id: str, *, account: str, now: float) -> MemosTask | None:
        """The task, if this account may see it at this instant."""
        return _seen(self.tasks.get(task_id), account, now)

    def file(self, file_id: str, *, account: str, now: float) -> MemosFile | None:
        """The file, if this account may see it at this instant."""
        return _seen(self.files.get(file_id), account, now)

    def memories_of(self, owner: str, *, account: str, now: float) -> Iterator[Memory]:
        """What is remembered of a user or an agent, newest first."""
        for memory in reversed(self.memories.values()):
            if memory.task.account == account and owner in memory.owners and memory.kept_at(now):
                yield memory


def words(text: str) -> frozenset[str]:
    """Words in lower case; a Chinese character is a word."""
    return frozenset(_WORD.findall(text.lower()))


def _seen(thing: T | None, account: str, now: float) -> T | None:
    return thing if thing and thing.account == account and now >= thing.visible_at else None
