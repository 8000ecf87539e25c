"""What a poller needs of a source, and the table of status words that every source has."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pollers._core.model import Phase, Sighting
from resilience import Guard

Pick = Callable[[int], list[str]]
"""Gives the ids of at most so many jobs that are due; call it when the request may really go."""


class Asked(Protocol):
    """A job that a look may ask for, as far as its source need know it."""

    @property
    def rid(self) -> int:
        """Of its row: a job that is watched again has another."""
        ...

    @property
    def remote_id(self) -> str:
        """The provider's id."""
        ...

    @property
    def features(self) -> Mapping[str, Any]:
        """What ``watch`` was told (``expect``, ``settle``), and what foretells how long it takes."""
        ...


class PickJobs(Protocol):
    """A ``Pick`` for sources whose jobs differ in what they cost and in what ``watch`` was told."""

    def __call__(self, count: int, *, dear: Callable[[Asked], bool] | None = None) -> list[str]:
        """The ids of at most so many jobs: those that are due, then those that are next.

        Args:
            count: the most.
            dear: whether a job costs a request of its own; at most one such is given, and only
                when it is due.
        """
        ...

    def job(self, remote_id: str) -> Asked:
        """A job that was given."""
        ...


class Source(Protocol):
    """One kind of job of one account.

    ``look`` makes one look: it calls ``pick`` inside the guarded call, after admission, so that the
    batch is never stale; asks the provider; and returns what it learned.  An id that was picked and
    is not in the result is missing from the provider's answer.  It raises what the guard raises, and
    never makes a job's failure out of a request's.

    ``looks_at_once``, where a source has it, is how many looks may be under way at a time (else 1).
    They begin ``spacing`` apart, and no job is in two of them.

    ``watch_options``, where a source has it, names the options of ``Poller.watch`` that it takes
    (``"expect"``, ``"settle"``); they come back in the ``features`` of the job.

    ``hinted(payload)``, where a source has it, gives the ids of its jobs that a provider's callback
    speaks of (decoded JSON of any shape, from anybody), or None if that isn't a payload of its kind.

    Two methods, where a source has them, serve ``Poller.submit``: ``submitted_id(answer)`` reads the id
    out of an answer to a submit (None if there is none), and ``async find_submitted(intent)`` gives
    the ids of all the provider's jobs that have the intent's token (or :class:`Match` es), through
    the source's guard.
    """

    provider: str
    deployment: str
    kind: str
    batch: int
    """Jobs that one request can ask for."""
    spacing: float
    """Least seconds between requests, from the documented limit."""
    guard: Guard

    async def look(self, guard: Guard, pick: PickJobs) -> Mapping[str, Sighting]:
        """Look at the jobs that ``pick`` gives.  ``guard`` is the source's own, set to one attempt."""
        ...


def hinted_by(source: Source, payload: Any) -> list[str] | None:
    """What a source makes of a callback's payload; None if it knows no such, or no callbacks."""
    hinted: Callable[[Any], list[str] | None] | None = getattr(source, "hinted", None)
    return None if hinted is None else hinted(payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWords:
    """What a provider's status texts mean (case does not matter).

    A text that is in no list means "not finished": hanging on is safe, giving up is not.  It is
    reported once.

    Raises:
        ValueError: a word is in two lists.
    """

    pending: Iterable[str] = ()
    succeeded: Iterable[str] = ()
    failed: Iterable[str] = ()
    _phases: dict[str, Phase] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        phases: dict[str, Phase] = {}
        lists = (
            (Phase.PENDING, self.pending),
            (Phase.SUCCEEDED, self.succeeded),
            (Phase.FAILED, self.failed),
        )
        for phase, words in lists:
            if isinstance(words, str):
                raise TypeError(f"{phase}={words!r}: give a list of words, not one text")
            for word in words:
                known = phases.setdefault(normal(word), phase)
                if known is not phase:
                    raise ValueError(f"the status word {word!r} is both {known} and {phase}")
        object.__setattr__(self, "_phases", phases)

    def sighting(
        self,
        remote_id: str,
        status: Any,
        *,
        cause: Any = None,
        features: Mapping[str, Any] | None = None,
    ) -> Sighting:
        """What this status text says about a job."""
        text = None if status is None else printable(status)
        phase = self._phases.get(normal(text or ""))
        return Sighting(
            remote_id=remote_id,
            phase=phase or Phase.PENDING,
            status=text,
            cause=clean_cause(cause),
            known=phase is not None or text is None,
            features=features or {},
        )


def normal(word: str) -> str:
    """Case and surrounding space do not matter."""
    return str(word).strip().casefold()


def printable(value: Any) -> str:
    """Text that can be stored: half an emoji (a lone surrogate) becomes a question mark."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def clean_cause(cause: Any) -> str | None:
    """A provider's reason as text; ``"null"``, ``""`` and the like are none."""
    if cause is None:
        return None
    text = printable(cause).strip()
    return None if text.casefold() in ("", "null", "none", "undefined") else text
