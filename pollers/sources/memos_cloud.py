"""Tasks and knowledge-base files of MemOS Cloud: are the messages processed, are the files read?

``POST get/status`` answers for one task, ``POST get/knowledgebase-file`` for many files at once.  A
status of ``failed`` inside an answer with code 0 is how the *job* ended; the call went well.  No
reason of a failure is documented.  Right after a submit a task may be unknown (50131), and files that
are unknown are simply absent: both are "not there yet" for the poller's grace.

Wire facts: https://memos-docs.openmem.net/memos_cloud/features/async_mode/ and
https://memos-docs.openmem.net/memos_cloud/features/knowledge_base
"""

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from pollers._core.model import Sighting
from pollers.sources._http import data_of, deployment_of, guard_for, inside, whole
from pollers.sources.base import Pick, StatusWords
from resilience import FatalError, Guard

BASE_URL = "https://memos.memtensor.cn/api/openmem/v1"

TASK_SPACING = 0.05
FILE_SPACING = 0.1
"""Seconds.  All calls and keys of an account share 40 requests a second (recommended); both kinds of
looks together take 30 of them at most."""

AT_ONCE = 16
"""Looks under way: enough to keep to that where an answer takes almost a second."""

FILE_BATCH = 20
"""Files of one look: answers come in pages of 20, and nothing says that ``file_ids`` are exempt."""

WORDS = StatusWords(
    pending=("running", "waiting", "pending", "processing", "in_progress", "queued"),
    succeeded=("completed", "success"),
    failed=("failed", "fail", "error", "cancelled"),
)
_UNKNOWN_TASK = "50131"
_UNKNOWN_FILE = "50100"


class _MemosSource:
    """What both kinds of jobs have in common: an account, and how it is asked."""

    provider = "memos_cloud"
    looks_at_once = AT_ONCE

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        guard: Guard | None = None,
        api_key: str | None = None,
        base_url: str = BASE_URL,
    ) -> None:
        self.deployment = deployment_of(base_url, example=BASE_URL)
        self.session = session
        self.guard = guard or guard_for(
            session, self.provider, deployment=self.deployment, api_key=api_key
        )
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": with_scheme(api_key)} if api_key else {}

    async def _ask(
        self,
        guard: Guard,
        pick: Pick,
        count: int,
        path: str,
        body: Callable[[list[str]], Any],
        *,
        unknown: str,
    ) -> tuple[list[str], Any]:
        """The ids that were picked, and ``data`` of the answer; None if the one id is unknown."""
        asked: list[str] = []

        async def post() -> aiohttp.ClientResponse | None:
            asked[:] = pick(count)
            if not asked:
                return None
            url = f"{self._base_url}/{path}"
            async with self.session.post(
                url, json=body(list(asked)), headers=self._headers
            ) as response:
                return await whole(response)

        endpoint = path.replace("/", "_").replace("-", "_")
        try:
            return asked, await data_of(await guard.options(endpoint=endpoint).call(post))
        except FatalError as error:
            if len(asked) == 1 and error.code == unknown:
                return asked, None
            raise


class MemosTasks(_MemosSource):
    """The processing of messages and feedback of one account; an id is a ``task_id``.

    Args:
        session: an aiohttp session; its headers carry the key unless ``api_key`` does.
        guard: the account's guard.  By default the one in the session's middlewares, else one made
            from the catalog.
        api_key: sent as ``Authorization: Token <key>``; may begin with ``Token`` already.
        base_url: the API root.
    """

    kind = "tasks"
    batch = 1
    spacing = TASK_SPACING

    def submitted_id(self, answer: Any) -> str | None:
        """The task of messages or feedback; the API has no way to find one without it."""
        task_id = inside(answer).get("task_id")
        return None if task_id is None else str(task_id)

    async def look(self, guard: Guard, pick: Pick) -> Mapping[str, Sighting]:
        """One look at one task: the API takes no more at a time."""
        asked, data = await self._ask(
            guard, pick, self.batch, "get/status", lambda ids: {"task_id": ids[0]},
            unknown=_UNKNOWN_TASK,
        )  # fmt: skip
        status = _status(data)
        return {one: WORDS.sighting(one, status) for one in asked if status is not None}


class MemosFiles(_MemosSource):
    """The reading of files of one account's knowledge bases; an id is a file's.

    Args: as for :class:`MemosTasks`.
    """

    kind = "files"
    batch = FILE_BATCH
    spacing = FILE_SPACING

    def submitted_id(self, answer: Any) -> str | None:
        """The file that was added, if it was one; the API has no way to find it without its id."""
        data = answer.get("data", answer) if isinstance(answer, Mapping) else answer
        ids = [one.get("id") for one in data] if isinstance(data, list) else []
        return str(ids[0]) if len(ids) == 1 and ids[0] is not None else None

    async def look(self, guard: Guard, pick: Pick) -> Mapping[str, Sighting]:
        """One look at up to 20 files."""
        asked, data = await self._ask(
            guard, pick, self.batch, "get/knowledgebase-file",
            lambda ids: {"file_ids": ids}, unknown=_UNKNOWN_FILE,
        )  # fmt: skip
        files = data.get("file_detail_list") if isinstance(data, Mapping) else None
        seen = {
            str(file["id"]): WORDS.sighting(str(file["id"]), file["status"])
            for file in (files if isinstance(files, list) else ())
            if isinstance(file, Mapping)
            and file.get("id") is not None
            and file.get("status") is not None
        }
        return {one: seen[one] for one in asked if one in seen}


def with_scheme(api_key: str) -> str:
    """The value of the header ``Authorization``: ``Token <key>``, however the key was copied."""
    scheme, _, key = api_key.strip().partition(" ")
    return f"Token {key.strip() if scheme.casefold() == 'token' else api_key.strip()}"


def _status(data: Any) -> Any:
    """A task's status: from an object, or as it used to be, from a list with one."""
    if isinstance(data, list):
        data = data[0] if data else None
    return data.get("status") if isinstance(data, Mapping) else None
