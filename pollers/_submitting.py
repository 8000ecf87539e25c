"""Submit and watch in one step, for the jobs of one source.

``pollers._core.submit`` has the theory.  Here is the order of things: the intent is stored before the
call is made, and the id before anybody is told.  A job whose reply was lost is searched for by the
loop of its source, one request at a time and in turn with the looks; so is one that an earlier
process left behind.
"""

import heapq
import inspect
import math
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from pollers._background import to_its_end
from pollers._core import submit as core
from pollers._core.model import Job, NewJob, State, Transition
from pollers._core.submit import Intent, Match
from pollers._handle import JobHandle
from pollers._log import fit_to_tell, log
from pollers.errors import PollerStopped
from pollers.store.base import StoreError
from resilience import Certainty, Guard, ResilienceError, report

if TYPE_CHECKING:
    from pollers._ledger import Ledger

Upload = Callable[[Intent], Awaitable[Any]]

LEFT_BEHIND = "the process ended, or stopped its call, before it knew the reply"


class Open:
    """One job that has no remote id yet."""

    __slots__ = (
        "due", "handle", "is_calling", "job", "lost_at", "searches", "successor", "trouble",
    )  # fmt: skip

    def __init__(self, job: Job, handle: JobHandle, *, is_calling: bool) -> None:
        self.job = job
        self.handle = handle
        """Learns the id when it is known."""
        self.is_calling = is_calling
        """Its call is under way, so nobody knows yet that the reply is lost."""
        self.lost_at = self.due = math.inf
        self.searches = 0
        self.successor: Job | None = None
        """The job that has its id already; where we say what the id is, itself."""
        self.trouble = LEFT_BEHIND


class Submits:
    """The jobs of one source that have no remote id yet."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._open: dict[int, Open] = {}
        self._calling: dict[str, Open | None] = {}
        """The calls that are under way, by token."""
        self._due: list[tuple[float, int]] = []
        self._had_turn = False

    # -- the call -----------------------------------------------------------------------------

    async def submit(self, upload: Upload, new: NewJob) -> JobHandle:
        """Store the intent, make the call, store the id.

        Raises:
            Exception: what ``upload`` raised, if it proves that nothing was done.
            TypeError: what it returned has no id.
            PollerStopped: the poller ended during the call.
        """
        token = new.key.remote_id
        self._calling[token] = None
        try:
            (job,) = await to_its_end(partial(self._ledger.register, [new], again=False))
            return await self._call(upload, self._open[job.rid])
        finally:
            one = self._calling.pop(token)
            if one is not None and one.is_calling:
                self._lose(one)

    async def _call(self, upload: Upload, one: Open) -> JobHandle:
        try:
            answer = await called(upload, core.intent_of(one.job))
            body = await content_of(answer, self._ledger.source.guard)
        except Exception as error:
            one.trouble = told(error)
            if surely_not_done(error):
                await self._refuse(one)
                raise
            log.warning(
                "pollers.submit_lost", kind=one.job.key.kind, account=one.job.key.account,
                token=one.job.key.remote_id, error=one.trouble,
            )  # fmt: skip
            return one.handle  # not the error: whoever gets that would submit once more
        remote_id = self._id_in(body, one)
        try:
            await self.name(one.job.rid, remote_id, at_once=True)
        except StoreError as error:
            if self._ledger.engine.stopped is None:
                raise
            said = f"submitted as {remote_id}, but the poller stopped before that was stored"
            raise PollerStopped(said) from error
        if one.handle.id != remote_id:  # settled or unwatched while it was called
            log.error(
                "pollers.submit_differs", kind=one.job.key.kind, account=one.job.key.account,
                token=one.handle.id, id=remote_id,
            )  # fmt: skip
        return one.handle

    async def _refuse(self, one: Open) -> None:
        try:
            await self._end(one, partial(core.refused, cause=one.trouble))
        except StoreError:
            if self._ledger.engine.stopped is None:
                raise  # else the next run finds nothing, and says so

    def _id_in(self, body: Any, one: Open) -> str:
        read = getattr(self._ledger.source, "submitted_id", None)
        found = body if isinstance(body, str) else read(body) if read else None
        if isinstance(found, str) and found:
            return found
        one.trouble = f"the upload returned {shape_of(body)}"
        raise TypeError(
            f"{one.trouble}: expected the provider's id as a text, or its answer with the id in it. "
            "The work may be done: it is searched for, and not done again"
        )

    # -- which are open -----------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """A job without a remote id: of a call of ours, or left behind by an earlier process."""
        if job.rid in self._open:
            return
        is_calling = job.key.remote_id in self._calling
        one = Open(job, JobHandle(self._ledger.engine, job), is_calling=is_calling)
        self._open[job.rid] = one
        if is_calling:
            self._calling[job.key.remote_id] = one
        elif job.state is State.SUBMITTING:
            self._lose(one)

    def changed(self, job: Job) -> None:
        """A row was saved; it may be one of these."""
        one = self._open.get(job.rid)
        if one is None:
            return
        one.job, one.due, one.is_calling = job, math.inf, False
        one.handle.point_at(one.successor or job)
        if job.state is not State.UNCERTAIN:
            del self._open[job.rid]

    def holds(self, rid: int) -> bool:
        """Whether it may get its id by itself."""
        return rid in self._open and self._open[rid].job.state is State.SUBMITTING

    def job(self, rid: int) -> Job | None:
        """The row of a job without a remote id."""
        return self._open[rid].job if rid in self._open else None

    def counts(self) -> Counter[str]:
        """How many there are, by state."""
        return Counter(str(one.job.state) for one in self._open.values())

    def handle(self, rid: int) -> JobHandle | None:
        """The handle that learns the id."""
        return self._open[rid].handle if rid in self._open else None

    def _lose(self, one: Open) -> None:
        """Its reply won't come: search, from now on."""
        one.is_calling = False
        one.lost_at = anyio.current_time()
        self._search_at(one, one.lost_at)

    # -- the search ---------------------------------------------------------------------------

    def next_at(self) -> float:
        """Loop time of the next search."""
        while self._due:
            due, rid = self._due[0]
            if rid in self._open and self._open[rid].due == due:
                return due
            heapq.heappop(self._due)
        return math.inf

    def take(self, now: float, *, looks: bool) -> Open | None:
        """The job to search for now; if ``looks`` are due, too, every other time nobody."""
        self._had_turn = self.next_at() <= now and not (looks and self._had_turn)
        if not self._had_turn:
            return None
        one = self._open[heapq.heappop(self._due)[1]]
        self._search_at(one, now + core.pause(one.searches))  # unless it is found
        return one

    async def find(self, one: Open) -> Sequence[Match] | None:
        """What the provider has of it; None if the source can't search.

        Raises:
            ResilienceError: the provider did not say.
        """
        find = getattr(self._ledger.source, "find_submitted", None)
        return None if find is None else as_matches(await find(core.intent_of(one.job)))

    async def found(self, one: Open, matches: Sequence[Match] | None, *, asked: float) -> None:
        """What a search means, which began at ``asked``."""
        if not self.holds(one.job.rid):
            return  # somebody decided meanwhile
        one.searches += 1
        ends = one.lost_at + self._ledger.engine.pace.grace
        self._search_at(one, min(anyio.current_time() + core.pause(one.searches - 1), ends))
        known = [match for match in matches or () if await self._knows(match)]
        fits = [match for match in matches or () if match.sure or match not in known]
        if len(fits) == 1:
            log.info(
                "pollers.submit_found", kind=one.job.key.kind, account=one.job.key.account,
                token=one.job.key.remote_id, id=fits[0].remote_id,
            )  # fmt: skip
            await self.name(one.job.rid, fits[0].remote_id, at_once=False)
        elif fits:
            await self._give_up(one, "several", fits)
        elif matches is None:
            await self._give_up(one, "no_search")
        elif asked >= ends:
            await self._give_up(one, "none")

    def _search_at(self, one: Open, due: float) -> None:
        one.due = due
        heapq.heappush(self._due, (due, one.job.rid))
        self._ledger.nudge()

    async def _knows(self, match: Match) -> bool:
        key = self._ledger.key(match.remote_id)
        return await self._ledger.engine.store.find(key) is not None

    # -- what became of it --------------------------------------------------------------------

    async def name(self, rid: int, remote_id: str, *, at_once: bool) -> JobHandle | None:
        """It has its id: watch it, or give it up for the job that has this id already.

        Returns its handle; None if it is not open any more.
        """
        one = self._open.get(rid)
        if one is None:
            return None

        async def decide() -> Transition | None:
            if rid not in self._open:
                return None
            at = self._ledger.engine.wall()
            one.successor = other = await self._ledger.engine.store.find(
                self._ledger.key(remote_id)
            )
            return core.settled(one.job, remote_id, other, at=at, at_once=at_once)

        await to_its_end(partial(self._ledger.change, decide))
        return one.handle

    async def _give_up(self, one: Open, reason: str, matches: Sequence[Match] = ()) -> None:
        log.error(
            "pollers.submit_uncertain", kind=one.job.key.kind, account=one.job.key.account,
            token=one.job.key.remote_id, reason=reason, error=one.trouble,
        )  # fmt: skip
        candidates = [match.remote_id for match in matches]
        await self._end(
            one,
            partial(core.uncertain, reason=reason, cause=one.trouble, candidates=candidates),
        )

    async def _end(self, one: Open, move: Callable[..., Transition]) -> None:
        async def decide() -> Transition | None:
            is_open = self.holds(one.job.rid)
            return move(one.job, at=self._ledger.engine.wall()) if is_open else None

        await to_its_end(partial(self._ledger.change, decide))


def new_token() -> str:
    """A token that nobody else has: 64 random bits."""
    return f"{core.PREFIX}{uuid.uuid4().hex[:16]}"


async def called(upload: Upload, intent: Intent) -> Any:
    """What the upload returned; a lambda may return it at once."""
    answer = upload(intent)
    return await answer if inspect.isawaitable(answer) else answer


async def content_of(answer: Any, guard: Guard) -> Any:
    """What an answer says: the body of a response, else the answer itself (perhaps the id).

    Raises:
        ResilienceError: it says that the call failed, by the report of the guard that saw it, or by
            the policy of this one.
        Exception: it can't be read.
    """
    if isinstance(answer, str):
        return answer
    seen = report(answer)
    if seen is not None and seen.error is not None:
        raise seen.error
    is_response = hasattr(answer, "headers") and callable(getattr(answer, "json", None))
    if is_response and getattr(answer, "closed", True) is False:
        await answer.read()  # aiohttp's, if it wasn't; httpx has read its own
    if seen is None:
        judge = Guard(guard.policy, guard.account)  # it knows codes, and has no doors to wait at
        await judge.options(max_attempts=1).call(_same, answer)
    if not is_response:
        return answer
    body = answer.json()
    body = await body if inspect.isawaitable(body) else body
    if body is None:
        raise ValueError("the answer is empty")  # a reply that got lost on its way, too
    return body


async def _same(answer: Any) -> Any:
    return answer


def surely_not_done(error: Exception) -> bool:
    """Whether it proves that no attempt did anything; only a guard can know."""
    seen = report(error)
    known = error if isinstance(error, ResilienceError) else seen.error if seen else None
    return known is not None and known.certainty is Certainty.NOT_EXECUTED


def told(error: Exception) -> str:
    """An error as a cause, with nothing in it that must not be told."""
    if isinstance(error, ResilienceError):
        parts = (error.code or error.reason, error.message)
    else:
        parts = (type(error).__name__, str(error))
    return fit_to_tell(": ".join(part for part in parts if part))


def as_matches(found: Iterable[Match | str]) -> list[Match]:
    """What a source found; each id once."""
    if isinstance(found, (str, Mapping)):
        raise TypeError(f"find_submitted returned {shape_of(found)}: expected a list of ids")
    matches = [one if isinstance(one, Match) else Match(one) for one in found]
    return list({one.remote_id: one for one in matches}.values())


def shape_of(value: Any) -> str:
    """What something is, without what is in it."""
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(sorted(map(str, value))) or 'nothing in it'}"
    if value is None or value == "" or isinstance(value, int):  # perhaps the id
        return repr(value)
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
