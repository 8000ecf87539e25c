"""Is a poller making progress?  ``Poller.health``."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pollers._core.model import State
from pollers._log import fit_to_tell
from pollers._loop import Loop
from pollers._snapshot import Inside

STUCK = 120.0
"""Seconds without a look that succeeds, while some are due."""

SLOW = 5.0
"""Seconds that the store may take to write."""

LATE = 300.0
"""Seconds that an event may wait for a sink."""

REMEMBERED = 60.0
"""Seconds for which a slow write is told of, if none came after it."""

ProblemCode = Literal[
    "not_started", "stopped", "stalled", "no_progress", "uncertain", "store_slow", "sink_behind",
    "parked",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a poller is not well.

    Attributes:
        code: ``not_started``; ``stopped`` (its loop has ended); ``stalled`` (the provider refuses the
            account); ``no_progress`` (looks are due, and none succeeds); ``uncertain`` (the reply to
            a submit was lost, and somebody has to say what became of it); ``store_slow``;
            ``sink_behind``; ``parked`` (a sink does not take an event, and somebody has to see why).
        about: the account, the source (``videos of default``) or the sink; empty for the poller.
        text: what is wrong, for people.
        since: aware, UTC; None if that is not known.
    """

    code: ProblemCode
    about: str
    text: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a poller makes progress, and what is wrong if not.

    Attributes:
        problems: the worst first; empty if all is well.
        alive: it runs.  It mends everything but ``stopped`` by itself, so this is what a supervisor
            should restart by, and ``ok`` what should wake a person.
    """

    alive: bool
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def data(self) -> dict[str, Any]:
        """The same as JSON has it: ``{"ok", "alive", "problems": [{"code", "about", …}]}``."""
        problems = [
            asdict(one) | {"since": one.since and one.since.isoformat()} for one in self.problems
        ]
        return {"ok": self.ok, "alive": self.alive, "problems": problems}


def health(of: Inside, *, stuck: float, slow: float, late: float) -> Health:
    """What ``Poller.health`` says."""
    if of.state != "running":
        return Health(alive=False, problems=(_not_running(of),))
    problems = (
        *_stalls(of), *_stuck(of, stuck), *_uncertain(of), *_slow(of, slow), *_late(of, late),
        *_parked(of),
    )  # fmt: skip
    return Health(alive=True, problems=problems)


def _not_running(of: Inside) -> Problem:
    if of.stopped is None:
        return Problem(code="not_started", about="", text="it was not started", since=None)
    return Problem(
        code="stopped", about="", text=fit_to_tell(of.stopped), since=_utc(of.stopped_at)
    )


def _stalls(of: Inside) -> Iterator[Problem]:
    for shard, stalls in {loop.shard: loop.stalls for loop in of.loops}.items():
        if stalls.since is not None and stalls.pressing:
            told = "; ".join(
                f"{one['code']}: {one['title'] or one['message']}. {one['remedy']}".rstrip()
                for one in stalls.reasons.values()
            )
            yield Problem(
                code="stalled", about=shard.account, text=f"the API refuses us: {told}",
                since=_utc(of.wall - (of.now - stalls.since)),
            )  # fmt: skip


def _stuck(of: Inside, limit: float) -> Iterator[Problem]:
    for loop in of.loops:
        since = loop.tally.due_since
        if since is None or loop.idle or loop.stalls.has(loop) or of.now - since <= limit:
            continue
        why = loop.tally.trouble or "no look has come back"
        yield Problem(
            code="no_progress", about=_name(loop), since=_utc(of.wall - (of.now - since)),
            text=f"looks are due, and none has succeeded for {of.now - since:.0f} s: {why}",
        )  # fmt: skip


def _uncertain(of: Inside) -> Iterator[Problem]:
    for loop in of.loops:
        if count := loop.submits.counts()[State.UNCERTAIN]:
            yield Problem(
                code="uncertain", about=_name(loop), since=None,
                text=f"submits whose reply was lost and that can't be found: {count}. Look at the "
                "provider, then poller.settle or unwatch them: poller.jobs(state='uncertain')",
            )  # fmt: skip


def _slow(of: Inside, limit: float) -> Iterator[Problem]:
    for loop in of.loops:
        tally = loop.tally
        began = tally.writing_since
        if began is not None and of.now - began > limit:
            said = f"the store has been writing for {of.now - began:.1f} s"
        elif tally.wrote_for > limit and of.now - tally.wrote_at <= REMEMBERED:
            said = f"the store took {tally.wrote_for:.1f} s to write"
            began = tally.wrote_at - tally.wrote_for
        else:
            continue
        since = _utc(of.wall - (of.now - began))
        yield Problem(code="store_slow", about=_name(loop), text=said, since=since)


def _late(of: Inside, limit: float) -> Iterator[Problem]:
    for relay in of.relays:
        since = relay.late_since
        behind = of.head - relay.seq
        if since is None or behind <= 0 or of.wall - since <= limit:
            continue
        why = f": {relay.trouble}" if relay.trouble else ""
        yield Problem(
            code="sink_behind", about=relay.sink.name, since=_utc(since),
            text=f"an event has waited for {of.wall - since:.0f} s, with {behind - 1} behind it{why}",
        )  # fmt: skip


def _parked(of: Inside) -> Iterator[Problem]:
    """What is tried again at each start, or was parked since: else no start would ever be well."""
    for relay in of.relays:
        if count := relay.parked - relay.left_parked:
            name = relay.sink.name
            again = (
                "not tried" if relay.sink.in_sequence else "tried when a poller opens this store"
            )
            yield Problem(
                code="parked", about=name, since=None,
                text=f"events that it does not take: {count}. poller.parked({name!r}) has them with "
                f"the reasons; they are {again} again",
            )  # fmt: skip


def _name(loop: Loop) -> str:
    return f"{loop.source.kind} of {loop.shard.account}"


def _utc(wall: float | None) -> datetime | None:
    return None if wall is None else datetime.fromtimestamp(wall, UTC)
