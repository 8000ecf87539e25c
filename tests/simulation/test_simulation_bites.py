"""The product broken by hand, in one place after another: a few seeds find each of them."""

# ruff: noqa: D102, D103  # helpers say it by their names

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from sim_check import play
from sim_process import pause

from pollers import Intent, _ledger, _loop, _relay, _submitting, _watch
from pollers._core.table import Watched
from pollers._ledger import Ledger
from pollers._loop import Loop
from pollers._queue import Hand, Queue
from pollers._relay import Relay
from pollers._submitting import Submits
from pollers._watch import Watch
from pollers.poller import Poller
from pollers.sources import CallableSource
from pollers.sources._spacing import Spacing
from pollers.store import MemoryStore
from resilience import ResilienceError

MOST = 1000
"""Seeds within which it must be found; most are found at once, what needs a rare order of things late."""

LATE = {
    "a_call_that_is_cancelled_is_forgotten": 720,
    "whoever_comes_back_opens_the_door": 750,
    "a_look_is_begun_while_it_is_left": 320,
}
"""Where to begin for those that take a rare order of things; all seeds are played if it is no more there."""

Patch = pytest.MonkeyPatch
BREAKS: list[Callable[[Patch], None]] = []


def breaks(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
    BREAKS.append(function)
    return function


# -- the store ----------------------------------------------------------------------------------


@breaks
def epochs_are_not_checked(patch: Patch) -> None:
    patch.setattr(MemoryStore, "_check", lambda *_: None)


@breaks
def the_mark_of_a_sink_is_lost(patch: Patch) -> None:
    async def acked(self: Any, sink: str) -> None:
        return None

    patch.setattr(MemoryStore, "acked", acked)


@breaks
def what_a_sink_needs_is_pruned(patch: Patch) -> None:
    prune = MemoryStore.prune

    async def much(self: Any, before: float, limit: int = 200) -> int:
        acked, self._acked = self._acked, {}
        try:
            return await prune(self, before, limit)
        finally:
            self._acked = acked

    patch.setattr(MemoryStore, "prune", much)


# -- the loop -----------------------------------------------------------------------------------


@breaks
def a_job_may_end_while_it_is_looked_at(patch: Patch) -> None:
    async def taken(self: Any, steps: Any) -> Any:
        rows = {job.rid: job for job in await self.engine.store.rows([rid for rid, _ in steps])}
        found = (step(rows[rid]) for rid, step in steps if rid in rows)
        return [one for one in found if one is not None]

    patch.setattr(Ledger, "_taken", taken)


@breaks
def nothing_is_taken_up_after_a_restart(patch: Patch) -> None:
    async def load_active(self: Any, shard: Any, **_: Any) -> list[Any]:
        return []

    patch.setattr(MemoryStore, "load_active", load_active)


@breaks
def what_has_ended_is_looked_at_again(patch: Patch) -> None:
    def apply(self: Any, job: Any) -> None:
        if job.rid in self.watch.jobs:
            self.watch.jobs[job.rid].status = job.status
        if job.state.ended:
            self.engine.news.tell_ended(job.rid)

    patch.setattr(Ledger, "_apply", apply)


@breaks
def a_commit_can_be_cancelled_by_half(patch: Patch) -> None:
    patch.setattr(_ledger.anyio, "CancelScope", lambda **_: anyio.fail_after(None))


@breaks
def cancelling_and_looking_commit_at_once(patch: Patch) -> None:
    class NoLock:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

    patch.setattr(_ledger.anyio, "Lock", NoLock)


@breaks
def a_look_is_begun_while_it_is_left(patch: Patch) -> None:
    async def nothing() -> None: ...

    async def wait(self: Any) -> None:
        """Without a lock, which is a checkpoint, too."""
        await pause(max(0.0, self._free_at - anyio.current_time()))
        self.went()

    patch.setattr(_loop.anyio.lowlevel, "checkpoint_if_cancelled", nothing)
    patch.setattr(Spacing, "wait", wait)


@breaks
def a_look_that_is_repeated_forgets_the_spacing(patch: Patch) -> None:
    patch.setattr(Spacing, "wait", lambda _: anyio.sleep(0))


@breaks
def a_failed_request_is_a_missing_job(patch: Patch) -> None:
    look = CallableSource.look

    async def blind(self: Any, guard: Any, pick: Any) -> Any:
        try:
            return await look(self, guard, pick)
        except Exception:
            await anyio.sleep(0.1)  # a door that is shut would be asked for ever at one instant
            return {}

    patch.setattr(CallableSource, "look", blind)


@breaks
def whoever_comes_back_opens_the_door(patch: Patch) -> None:
    def leave_door(self: Any, _: Any) -> None:
        self._at_door = None
        self.nudge()

    patch.setattr(Loop, "_leave_door", leave_door)


@breaks
def every_failure_counts_as_a_refusal(patch: Patch) -> None:
    patch.setattr(_loop, "_is_refusal", lambda _: True)


@breaks
def the_spacing_is_forgotten(patch: Patch) -> None:
    init = CallableSource.__init__

    def without(self: Any, ask: Any, **options: Any) -> None:
        init(self, ask, **{**options, "spacing": 0.0})

    patch.setattr(CallableSource, "__init__", without)


# -- the live jobs ------------------------------------------------------------------------------


@breaks
def half_of_a_refused_batch_is_lost(patch: Patch) -> None:
    split = Queue.split

    def half(self: Any, hand: Hand) -> bool:
        done = split(self, hand)
        if done:
            self._halves.pop()
        return done

    patch.setattr(Queue, "split", half)


@breaks
def a_slow_answer_counts_as_one_after_the_deadline(patch: Patch) -> None:
    saw = Watch.saw

    def late(self: Any, hand: Hand, sightings: Any, *, now: float, wall: float) -> Any:
        hand.asked_at = now
        return saw(self, hand, sightings, now=now, wall=wall)

    patch.setattr(Watch, "saw", late)


@breaks
def deadlines_are_early(patch: Patch) -> None:
    add = Watch.add

    def early(self: Any, job: Any, **options: Any) -> None:
        short = job if job.deadline is None else replace(job, deadline=job.deadline - 1.0)
        add(self, short, **options)

    patch.setattr(Watch, "add", early)


@breaks
def deadlines_that_no_look_can_keep_are_forgotten(patch: Patch) -> None:
    patch.setattr(Watch, "overdue", lambda *_, **__: [])
    patch.setattr(Watch, "next_expiry", lambda _: _watch.INFINITE)


@breaks
def the_grace_is_not_kept(patch: Patch) -> None:
    for name in ("step", "is_news"):
        decide = getattr(_watch, name)
        patch.setattr(_watch, name, partial(_with_a_grace_of_20, decide))


def _with_a_grace_of_20(decide: Any, *args: Any, **options: Any) -> Any:
    return decide(*args, **{**options, "grace": 20.0})


@breaks
def an_absence_is_never_over(patch: Patch) -> None:
    """Once it was seen again, it counts from the first time on all the same."""
    since: Any = Watched.missing_since
    again = property(since.fget, lambda one, at: at is None or since.fset(one, at))
    patch.setattr(Watched, "missing_since", again)


# -- submits ------------------------------------------------------------------------------------


@breaks
def the_intent_is_stored_after_the_call(patch: Patch) -> None:
    submit = Submits.submit

    async def late(self: Any, upload: Any, new: Any) -> Any:
        answer = await upload(Intent(
            rid=0, token=new.key.remote_id, created_at=new.created_at, kind=new.key.kind,
            account=new.key.account, data=new.data,
        ))  # fmt: skip
        return await submit(self, lambda _: answer, new)

    patch.setattr(Submits, "submit", late)


@breaks
def what_got_no_reply_is_submitted_again(patch: Patch) -> None:
    called = _submitting.called

    async def twice(upload: Any, intent: Any) -> Any:
        try:
            return await called(upload, intent)
        except Exception:
            return await called(upload, intent)

    patch.setattr(_submitting, "called", twice)


@breaks
def a_lost_reply_is_a_refusal(patch: Patch) -> None:
    patch.setattr(_submitting, "surely_not_done", lambda _: True)


@breaks
def the_first_of_several_is_taken(patch: Patch) -> None:
    matches = _submitting.as_matches
    patch.setattr(_submitting, "as_matches", lambda found: matches(found)[:1])


@breaks
def what_a_search_finds_is_overlooked(patch: Patch) -> None:
    patch.setattr(_submitting, "as_matches", lambda _: [])


@breaks
def a_search_that_failed_has_found_nothing(patch: Patch) -> None:
    find = Submits.find

    async def blind(self: Any, one: Any) -> Any:
        try:
            return await find(self, one)
        except ResilienceError:
            return ()

    patch.setattr(Submits, "find", blind)


@breaks
def it_is_given_up_too_soon(patch: Patch) -> None:
    found = Submits.found

    async def soon(self: Any, one: Any, matches: Any, *, asked: float) -> None:
        await found(self, one, matches, asked=asked + 5.0)

    patch.setattr(Submits, "found", soon)


@breaks
def it_is_searched_for_while_it_is_called(patch: Patch) -> None:
    add = Submits.add

    def at_once(self: Any, job: Any) -> None:
        add(self, job)
        if job.state == "submitting":
            self._search_at(self._open[job.rid], anyio.current_time())

    patch.setattr(Submits, "add", at_once)


@breaks
def what_an_earlier_process_submitted_is_forgotten(patch: Patch) -> None:
    lose = Submits._lose

    def only_ours(self: Any, one: Any) -> None:
        if one.is_calling:
            lose(self, one)

    patch.setattr(Submits, "_lose", only_ours)


@breaks
def a_call_that_is_cancelled_is_forgotten(patch: Patch) -> None:
    call = Submits._call

    async def silent(self: Any, upload: Any, one: Any) -> Any:
        try:
            return await call(self, upload, one)
        except anyio.get_cancelled_exc_class():
            one.is_calling = False
            raise

    patch.setattr(Submits, "_call", silent)


@breaks
def what_is_found_is_searched_for_still(patch: Patch) -> None:
    def changed(self: Any, job: Any) -> None:
        one = self._open.get(job.rid)
        if one is not None:
            one.job, one.is_calling = job, False
            one.handle.point_at(job)

    patch.setattr(Submits, "changed", changed)
    patch.setattr(Submits, "holds", lambda self, rid: rid in self._open)


# -- the relay ----------------------------------------------------------------------------------


@breaks
def it_is_acknowledged_before_it_is_delivered(patch: Patch) -> None:
    deliver = Relay._deliver

    async def early(self: Any, rows: Any) -> None:
        await self._store.ack(self.sink.name, rows[-1].seq)
        await deliver(self, rows)

    patch.setattr(Relay, "_deliver", early)


@breaks
def what_a_sink_refuses_is_dropped(patch: Patch) -> None:
    ack = MemoryStore.ack

    async def forget(self: Any, sink: str, seq: int, parked: Any = None) -> None:
        await ack(self, sink, seq)

    patch.setattr(MemoryStore, "ack", forget)


@breaks
def later_events_overtake_a_parked_one(patch: Patch) -> None:
    class Never(set[Any]):
        def __contains__(self, _: object) -> bool:
            return False

    init = Relay.__init__

    def open_(self: Any, *args: Any) -> None:
        init(self, *args)
        self._blocked = Never()

    patch.setattr(Relay, "__init__", open_)


@breaks
def a_sink_that_fails_is_skipped(patch: Patch) -> None:
    give = Relay._give

    async def once(self: Any, rows: Any, settings: Any) -> None:
        await give(self, rows, settings)

    patch.setattr(Relay, "_give", once)


@breaks
def what_is_parked_is_tried_out_of_order(patch: Patch) -> None:
    parked = MemoryStore.parked

    async def backwards(self: Any, sink: Any = None) -> Any:
        return (await parked(self, sink))[::-1]

    patch.setattr(MemoryStore, "parked", backwards)


# -- the face -----------------------------------------------------------------------------------


@breaks
def a_stream_begins_one_event_too_late(patch: Patch) -> None:
    stream = Poller._stream

    async def late(self: Any, after: str | None, head: int | None) -> Any:
        first = bool(after)
        async for event in stream(self, after, head):
            if not first:
                yield event
            first = False

    patch.setattr(Poller, "_stream", late)


@breaks
def leaving_waits_for_nobody(patch: Patch) -> None:
    async def ended(self: Any) -> None:
        return

    patch.setattr("pollers._background.Background.ended", ended)


@breaks
def a_parked_event_is_never_tried_again(patch: Patch) -> None:
    """Not lost, but the consumer that would take it by now never gets it."""
    patch.setattr(_relay.Relay, "_try_parked", lambda _: anyio.sleep(0))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("broken", BREAKS, ids=lambda one: one.__name__)
def test_a_broken_product_is_found_out(broken: Callable[[Patch], None], monkeypatch: Patch) -> None:
    broken(monkeypatch)
    late = LATE.get(broken.__name__, 0)
    for seed in (*range(late, MOST), *range(late)):
        try:
            play(seed)
        except AssertionError:
            return
    raise AssertionError(f"{MOST} seeds did not find it")
