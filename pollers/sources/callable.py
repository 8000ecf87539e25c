"""Anybody's own API: a function that tells the status of a job, and a table of status words."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pollers._core.model import Sighting
from pollers._core.submit import Intent, Match
from pollers._given import function_of
from pollers._log import log
from pollers.sources._spacing import Spacing
from pollers.sources.base import Pick, StatusWords
from resilience import Guard

Find = Callable[[Intent], Awaitable[Iterable[Match | str]]]
Ask = Callable[[str], Awaitable[Any]] | Callable[[list[str]], Awaitable[Any]]


class CallableSource:
    """Jobs whose state an async function tells.

    Args:
        ask: takes one id and returns its status; or with ``batch`` above 1, takes a list of ids and
            returns a mapping from id to status.  A status is a text, or a mapping or object that has
            it under ``status``.  None is "not there (yet)".
        pending, succeeded, failed: the words that a status can be, in any case; others mean "not
            finished" and are reported once.
        status, cause: names of the field or attribute with the status and the reason of a failure;
            a mapping without the former is reported once.
        batch: ids that one call can take.
        spacing: least seconds between calls.
        at_once: calls that may be under way at a time.  By default a call waits for the one before
            it; where an answer takes longer than ``spacing``, more of them fill the limit.
        job_id: name of the field or attribute with the id in the answer of what submits a job.
        find_submitted: an async function of one ``Intent``; gives the ids of all jobs that have its
            token.  Without it a submit whose reply was lost is uncertain at once.
        guard: the account's guard; by default one with the ``http`` catalog.
        provider, deployment, kind: what the jobs are called in keys and events.

    Raises:
        ValueError: a word is in two lists, or a number is below 1.
        TypeError: ``ask`` or ``find_submitted`` is not an async function.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        succeeded: Iterable[str],
        failed: Iterable[str],
        pending: Iterable[str] = (),
        status: str = "status",
        cause: str = "cause",
        job_id: str = "id",
        find_submitted: Find | None = None,
        batch: int = 1,
        spacing: float = 0.0,
        at_once: int = 1,
        guard: Guard | None = None,
        provider: str = "custom",
        deployment: str = "local",
        kind: str = "jobs",
    ) -> None:
        _check_async(ask)
        if batch < 1:
            raise ValueError(f"batch={batch!r}: at least 1 id per call")
        if at_once < 1:
            raise ValueError(f"at_once={at_once!r}: at least 1 call")
        self.provider = provider
        self.deployment = deployment
        self.kind = kind
        self.batch = batch
        self.spacing = spacing
        self.looks_at_once = at_once
        self.guard = guard or Guard("http")
        self.words = StatusWords(pending=pending, succeeded=succeeded, failed=failed)
        self._ask: Callable[[Any], Awaitable[Any]] = ask
        self._status = status
        self._cause = cause
        self._job_id = job_id
        self._told = False
        self._spaced = Spacing(spacing)
        if find_submitted is not None:
            _check_async(find_submitted)
            self.find_submitted = partial(self._find, find_submitted)

    async def look(self, guard: Guard, pick: Pick) -> Mapping[str, Sighting]:
        """One call of the function."""
        asked: list[str] = []

        async def look() -> Any:
            await self._spaced.wait()
            asked[:] = pick(self.batch)
            if not asked:
                return None
            answer = await self._ask(asked[0] if self.batch == 1 else list(asked))
            if self.batch > 1 and not isinstance(answer, Mapping | None):
                raise TypeError(
                    f"with batch={self.batch} the function must return a mapping from id to status, "
                    f"not {type(answer).__name__}"
                )
            return answer

        answer = await guard.options(endpoint=f"{self.kind}", idempotent=True).call(look)
        if self.batch == 1:
            answers: Mapping[str, Any] = {asked[0]: answer} if asked else {}
        else:
            answers = answer or {}
        seen = {
            remote_id: answers[remote_id]
            for remote_id in asked
            if answers.get(remote_id) is not None
        }
        return {remote_id: self._sighting(remote_id, one) for remote_id, one in seen.items()}

    def submitted_id(self, answer: Any) -> str | None:
        """The id in an answer to a submit: a text, or a number as text."""
        found = _field(answer, self._job_id)
        return str(found) if isinstance(found, (str, int)) else None

    async def _find(self, find: Find, intent: Intent) -> Iterable[Match | str]:
        async def search() -> Any:
            await self._spaced.wait()
            return await find(intent)

        guard = self.guard.options(endpoint=f"{self.kind}_submitted", idempotent=True)
        return await guard.call(search)

    def _sighting(self, remote_id: str, answer: Any) -> Sighting:
        if isinstance(answer, (str, int)):
            return self.words.sighting(remote_id, answer)
        self._check_field(answer)
        return self.words.sighting(
            remote_id, _field(answer, self._status), cause=_field(answer, self._cause)
        )

    def _check_field(self, answer: Any) -> None:
        """Say once that there is no such field: else a name misspelt is a job that never ends."""
        if self._told or not isinstance(answer, Mapping) or self._status in answer:
            return
        self._told = True
        hint = "an answer has no such field; name yours with CallableSource(status=…)"
        log.warning(
            "pollers.no_status", kind=self.kind, account=self.guard.account, field=self._status,
            hint=hint,
        )  # fmt: skip


def _check_async(ask: Any) -> None:
    if not callable(ask):
        raise TypeError(f"{ask!r} can't be called: a source asks with an 'async def' function")
    if inspect.isfunction(ask) and not inspect.iscoroutinefunction(function_of(ask)):
        raise TypeError(f"{ask.__qualname__} is a sync function: a source asks with 'async def'")


def _field(answer: Any, name: str) -> Any:
    if isinstance(answer, Mapping):
        return answer.get(name)
    return getattr(answer, name, None)
