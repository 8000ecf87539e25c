"""The emulated MemOS Cloud as its users see it."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Unpack

from pollers.emulator.base import Emulator
from pollers.emulator.control import COMMON_ACTS, Act
from pollers.emulator.exchange import table
from pollers.emulator.provider import now
from pollers.emulator.quotas import DEFAULT_ACCOUNT, Limit
from pollers.emulator.surface import Surface

from .bases import add_knowledgebase_file, create_knowledgebase, get_knowledgebase_file
from .chat import chat
from .memories import (
    add_feedback,
    add_message,
    delete_memory,
    get_memory,
    get_status,
    search_memory,
)
from .settings import MemosOptions, MemosSettings, limit_name
from .state import MemosState
from .things import COMPLETED, RUNNING, MemosFile, MemosTask
from .wire import MEMOS, NO_ENDPOINT

PREFIX = "/api/openmem/v1"

ENDPOINTS = table(
    PREFIX,
    (
        ("POST", "add/message", "add_message", add_message),
        ("POST", "get/status", "get_status", get_status),
        ("POST", "add/feedback", "add_feedback", add_feedback),
        ("POST", "search/memory", "search_memory", search_memory),
        ("POST", "get/memory", "get_memory", get_memory),
        ("POST", "delete/memory", "delete_memory", delete_memory),
        ("POST", "chat", "chat", chat),
        ("POST", "create/knowledgebase", "create_knowledgebase", create_knowledgebase),
        ("POST", "add/knowledgebase-file", "add_knowledgebase_file", add_knowledgebase_file),
        ("POST", "get/knowledgebase-file", "get_knowledgebase_file", get_knowledgebase_file),
    ),
    surface=MEMOS,
)


def _tasks(emulator: "MemosEmulator", body: Any) -> dict[str, Any]:
    for entry in body:
        emulator.add_task(**entry)
    return {"added": len(body)}


def _files(emulator: "MemosEmulator", body: Any) -> dict[str, Any]:
    for entry in body:
        emulator.add_file(**entry)
    return {"added": len(body)}


class MemosEmulator(Emulator[MemosState]):
    """A server that answers as MemOS Cloud ("OpenMem v1") does.

    Errors come with HTTP 200 and a number in `code`.  Messages that are added become tasks and
    memories; other tasks and files are scripted with `add_task` and `add_file`.  What goes wrong is
    scripted with `fail`.

        async with MemosEmulator(port=0, task_seconds=2.0) as emulator:
            emulator.fail("add_message", Fault(code=50004, times=2))
            await session.post(f"{emulator.base_url}/add/message", …)

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        settings: The fields of `MemosSettings`.
    """

    surfaces: ClassVar[Mapping[str, Surface]] = MappingProxyType({PREFIX: MEMOS})
    endpoints = ENDPOINTS
    unknown = NO_ENDPOINT  # the same as a real fault of the server
    acts: ClassVar[Mapping[str, Act]] = MappingProxyType(
        {**COMMON_ACTS, "tasks": _tasks, "files": _files}
    )

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, **settings: Unpack[MemosOptions]
    ) -> None:
        super().__init__(MemosState(MemosSettings(**settings)), host=host, port=port)

    @property
    def settings(self) -> MemosSettings:
        """What is set now."""
        return self._state.settings

    @property
    def tasks(self) -> Mapping[str, MemosTask]:
        """All tasks by id, of all accounts, visible or not."""
        return MappingProxyType(self._state.has.tasks)

    @property
    def files(self) -> Mapping[str, MemosFile]:
        """All files of knowledge bases by id, of all accounts, visible or not."""
        return MappingProxyType(self._state.has.files)

    def configure(self, **changes: Unpack[MemosOptions]) -> None:
        """Change settings from now on.

        Raises:
            ValueError: A setting that only says what the emulator starts with.
        """
        self._state.settings = self._state.settings.changed(**changes)

    def add_task(
        self,
        task_id: str | None = None,
        *,
        ends_after: float | None = 0.0,
        outcome: str = COMPLETED,
        visible_after: float = 0.0,
        pending: str = RUNNING,
        account: str = DEFAULT_ACCOUNT,
    ) -> MemosTask:
        """Register a task that ends by script.

        Args:
            task_id: Its id; made up if None, replaced if known.
            ends_after: Seconds from now until it ends; None or `inf`: never.
            outcome: "completed", "failed", or any other text, which is reported as it is.
            visible_after: Seconds from now until reads know it.
            pending: Status until it ends.
            account: Whose it is.
        """
        task = MemosTask(
            id=task_id or self._state.new_id(),
            account=account,
            visible_at=now() + visible_after,
            ends_at=math.inf if ends_after is None else now() + ends_after,
            outcome=outcome,
            pending=pending,
        )
        self._state.has.tasks[task.id] = task
        return task

    def add_file(
        self,
        file_id: str | None = None,
        *,
        ends_after: float | None = 0.0,
        outcome: str = COMPLETED,
        visible_after: float = 0.0,
        pending: str = RUNNING,
        account: str = DEFAULT_ACCOUNT,
        knowledgebase_id: str = "kb",
        name: str | None = None,
        size: int = 1024 * 1024,
    ) -> MemosFile:
        """Register a file of a knowledge base (made if it isn't there) that ends by script.

        Args:
            file_id: Its id; made up if None, replaced if known.
            ends_after: Seconds from now until it ends; None or `inf`: never.
            outcome: "completed", "failed", or any other text, which is reported as it is.
            visible_after: Seconds from now until reads know it.
            pending: Status until it ends.
            account: Whose it is.
            knowledgebase_id: Where it is.
            name: Its name; made from the id if None.
            size: Bytes.
        """
        known = file_id or self._state.new_id()
        self._state.has.bases.setdefault(knowledgebase_id, account)
        file = MemosFile(
            id=known,
            account=account,
            visible_at=now() + visible_after,
            ends_at=math.inf if ends_after is None else now() + ends_after,
            outcome=outcome,
            pending=pending,
            knowledgebase_id=knowledgebase_id,
            name=name or f"{known}.pdf",
            size=size,
        )
        self._state.has.files[known] = file
        return file

    def set_limit(self, interface: str, calls: int | None, per: float = 1.0) -> None:
        """Allow so many "calls" or "tokens" in `per` seconds by account; None: endless."""
        limit = None if calls is None else Limit(calls, per)
        self._state.windows.set(limit_name(interface), limit)

    def describe(self) -> dict[str, Any]:
        """How much there is of everything."""
        has = self._state.has
        return {
            "tasks": len(has.tasks),
            "files": len(has.files),
            "memories": len(has.memories),
            "knowledgebases": len(has.bases),
        }
