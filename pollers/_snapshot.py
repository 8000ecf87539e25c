"""What a poller is doing, as plain data: ``Poller.snapshot``.

Nothing in here asks the store or goes over all jobs; it reads what was counted on the way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pollers._core.model import State
from pollers._loop import Loop
from pollers._relay import Relay
from pollers.errors import PollerStopped

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A poller's parts, at one moment: ``now`` of its loop, ``wall`` of the calendar."""

    ready: bool
    """Whether it was started (or stopped)."""
    stopped: PollerStopped | None
    stopped_at: float | None
    """Wall time."""
    loops: Sequence[Loop]
    relays: Sequence[Relay]
    head: int
    """The number of the last event."""
    now: float
    wall: float

    @property
    def state(self) -> Literal["not_started", "running", "stopped"]:
        """Where its life is."""
        if self.stopped is not None:
            return "stopped"
        return "running" if self.ready else "not_started"


def snapshot(of: Inside) -> dict[str, Any]:
    """Everything, as ``Poller.snapshot`` says."""
    return {
        "at": iso(of.wall),
        "state": of.state,
        "sources": [_source(loop, of.now, of.wall) for loop in of.loops],
        "accounts": _accounts(of.loops, of.now, of.wall),
        "sinks": [_sink(relay, of.head, of.wall) for relay in of.relays],
        "store": {"events": of.head, **_writing(of.loops, of.now)},
    }


def iso(wall: float) -> str:
    """An instant as text, in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat()


def named(loop: Loop) -> dict[str, str]:
    """Which source it is."""
    shard = loop.shard
    return {
        "provider": shard.provider, "deployment": shard.deployment, "account": shard.account,
        "kind": loop.source.kind,
    }  # fmt: skip


def _source(loop: Loop, now: float, wall: float) -> dict[str, Any]:
    tally, watch = loop.tally, loop.watch
    fill = tally.fill(now)
    looked = tally.looked_at
    return {
        **named(loop),
        "jobs": {str(State.WATCHING): len(watch.jobs), **loop.submits.counts()},
        "loading": loop.ledger.loading,
        "ended": dict(tally.ended),
        "due": watch.due(now),
        "oldest_look": _short(watch.ages.greatest(now)),
        "delay": _delay(loop, now),
        "looks_per_second": _short(tally.looks.per_second(now)),
        "requests_per_second": _short(tally.requests.per_second(now)),
        "batch": loop.source.batch,
        "batch_fill": None if fill is None else _short(fill),
        "looked_at": None if looked is None else iso(wall - (now - looked)),
        "failures": tally.failures,
        "trouble": tally.trouble,
        "stalled": loop.stalls.has(loop),
        "learned": _short(watch.looks.learned),
        "callbacks": _callbacks(loop),
    }


def _callbacks(loop: Loop) -> dict[str, Any]:
    callbacks = loop.watch.callbacks
    lost = _short(callbacks.loss.chance) if callbacks.has_begun else None
    return {
        "heard": callbacks.heard, "strange": callbacks.strange, "lost": lost,
        "trusted": callbacks.trusted,
    }  # fmt: skip


def _delay(loop: Loop, now: float) -> dict[str, float | None]:
    delays = loop.tally.delays
    values = delays.at(list(QUANTILES.values()))
    shown = dict(zip(QUANTILES, values, strict=True))
    facts = {"count": delays.count(now), "mean": delays.mean, **shown}
    return {name: None if value is None else _short(value) for name, value in facts.items()}


def _accounts(loops: Iterable[Loop], now: float, wall: float) -> list[dict[str, Any]]:
    shards = {loop.shard: loop.stalls for loop in loops}
    return [
        {
            "provider": shard.provider, "deployment": shard.deployment, "account": shard.account,
            "stalled_since": None if stalls.since is None else iso(wall - (now - stalls.since)),
            "stalled_by": [dict(told) for told in stalls.reasons.values()],
            "guards": _guards(loop for loop in loops if loop.shard == shard),
        }
        for shard, stalls in shards.items()
    ]  # fmt: skip


def _guards(loops: Iterable[Loop]) -> list[Any]:
    guards = dict.fromkeys(loop.source.guard for loop in loops)  # sources may share one
    return [guard.snapshot() for guard in guards]


def _sink(relay: Relay, head: int, wall: float) -> dict[str, Any]:
    behind = max(0, head - relay.seq)
    late = relay.late_since if behind else None
    return {
        "sink": relay.sink.name,
        "behind": behind,
        "behind_seconds": 0.0 if late is None else _short(max(0.0, wall - late)),
        "parked": relay.parked,
        "trouble": relay.trouble,
    }


def _writing(loops: Iterable[Loop], now: float) -> dict[str, Any]:
    since = [loop.tally.writing_since for loop in loops]
    last = max((loop.tally for loop in loops), key=lambda tally: tally.wrote_at)
    return {
        "writing_for": _short(max((now - one for one in since if one is not None), default=0.0)),
        "last_write": _short(last.wrote_for),
    }


def _short(value: float) -> float:
    return round(value, 3)
