"""A job between the decision to submit it and its remote id, as values.

    intent stored (SUBMITTING) -> call -> the reply has the id          -> WATCHING
                                       -> the work was surely not done  -> FAILED
                                       -> anything else: the reply is lost, and the job is searched
                                          for by its token:  one match  -> WATCHING
                                             several, or none in time   -> UNCERTAIN

Nothing here ever submits a second time.  Whether to do that is for a person or a program to say who
can see what the provider has.

The token is ``rp-`` and 16 random hexadecimal digits.  The number of the row would not do: two stores
of one account have the same numbers, and so has a store that was restored from a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from msgspec.structs import replace

from pollers._core.model import Job, State, Transition
from pollers._core.step import cancel, moved

PREFIX = "rp-"
QUERY = "rp"
"""The name of the parameter that carries the token in a callback's URL."""

NAME = "name"
"""The feature that holds what ``submit(name=…)`` said."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
"""Seconds between two searches; the pause doubles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is about to be submitted; stored before the call is made.

    Attributes:
        rid: the number of the job in the store.
        token: what the request must carry, so that it can be found again: a tag, a reference, a
            header.  ``rp-`` and 16 hexadecimal digits; no two jobs have the same.
        created_at: when it was stored (seconds since the epoch).
        kind, account: of the source.
        name: what the provider will call it, if you said so; the last resort of a search.
        data: what was given to ``submit(data=…)``.
    """

    rid: int
    token: str
    created_at: float
    kind: str
    account: str
    name: str | None = None
    data: Any = None

    @property
    def idempotency_key(self) -> str:
        """For APIs that take one: the token, which is the same for every attempt of this intent."""
        return self.token

    def callback(self, url: str) -> str:
        """Your callback's URL with the token in its query (``?rp=rp-…``)."""
        parts = urlsplit(url)
        query = "&".join(part for part in (parts.query, f"{QUERY}={quote(self.token)}") if part)
        return urlunsplit(parts._replace(query=query))


@dataclass(frozen=True, slots=True)
class Match:
    """A job of the provider that may be the one.

    Attributes:
        remote_id: the provider's id.
        sure: it has the token.  False if only name and time fit: then one that is known already is
            another's.
    """

    remote_id: str
    sure: bool = True


def intent_of(job: Job) -> Intent:
    """The intent of a row that has no remote id yet."""
    return Intent(
        rid=job.rid, token=job.key.remote_id, created_at=job.created_at, kind=job.key.kind,
        account=job.key.account, name=job.features.get(NAME), data=job.data,
    )  # fmt: skip


def pause(searches: int) -> float:
    """Seconds until the next search, after so many."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(searches, 20))


def named(job: Job, remote_id: str, *, at: float, at_once: bool) -> Transition:
    """It has its id, and is watched from now on: its deadline counts from here.

    ``at_once``: the id came with the reply, so this is when it was handed in; else that was not
    before the intent, and nobody knows how much later.
    """
    span = None if job.deadline is None else job.deadline - job.created_at
    after = replace(
        job, version=job.version + 1, state=State.WATCHING,
        key=replace(job.key, remote_id=remote_id), cause=None, reason=None, created_at=at,
        submitted_at=at if at_once else job.submitted_at or job.created_at,
        deadline=None if span is None else at + span,
    )  # fmt: skip
    return moved(job, after, "watching", at, token=job.key.remote_id)


def refused(job: Job, cause: str, *, at: float) -> Transition:
    """It was surely not done."""
    after = replace(job, version=job.version + 1, state=State.FAILED, cause=cause, ended_at=at)
    return moved(job, after, "failed", at)


def known_as(job: Job, other: Job, *, at: float) -> Transition:
    """Its id is that of a job that is known: this row ends, or two would tell of one job."""
    return cancel(
        job,
        at=at,
        looks=job.looks,
        cause=f"{other.key.remote_id} is known already, as job {other.rid}",
    )


def settled(
    job: Job, remote_id: str, other: Job | None, *, at: float, at_once: bool = False
) -> Transition:
    """Its id is known; ``other`` is the newest row that has this id already, if one has."""
    if other is None or other.rid == job.rid:  # there are APIs to which we say what the id is
        return named(job, remote_id, at=at, at_once=at_once)
    return known_as(job, other, at=at)


def uncertain(
    job: Job, reason: str, *, at: float, cause: str | None, candidates: Sequence[str] = ()
) -> Transition:
    """Nobody can tell by itself what became of it; the event says why, and what to do."""
    after = replace(job, version=job.version + 1, state=State.UNCERTAIN, cause=cause, reason=reason)
    return moved(
        job, after, "uncertain", at, candidates=list(candidates),
        remedy=_REMEDIES[reason].format(rid=job.rid, token=job.key.remote_id),
    )  # fmt: skip


_SETTLE = "poller.settle({rid}, remote_id=…) or 'pollers settle {token} ID'"
_REMEDIES = {
    "several": "Several have the token {token}. Choose one: " + _SETTLE + "; delete the others.",
    "none": "The provider shows nothing with the token {token}. Look there: if it was made, "
    + _SETTLE
    + "; if not, unwatch this job and submit again.",
    "no_search": "This source can't search for the token {token}. Look at the provider: if it was "
    "made, " + _SETTLE + "; if not, unwatch this job and submit again.",
}
