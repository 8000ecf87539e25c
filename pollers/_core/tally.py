"""What the loop of one source counts, for ``Poller.snapshot`` and ``Poller.health``.

Instants are loop time, in seconds.
"""

from collections import Counter
from collections.abc import Iterable

from pollers._core.gauges import Quantiles, Rate
from pollers._core.model import Transition


class Tally:
    """Counts of one source since the poller was made."""

    def __init__(self) -> None:
        self.looks = Rate()
        self.requests = Rate()
        self.delays = Quantiles()
        self.ended: Counter[str] = Counter()
        """Jobs that ended, by how."""
        self.failures = 0
        """Looks that failed in a row, with searches."""
        self.trouble: str | None = None
        """Why the last look or search failed; None if it did not."""
        self.looked_at: float | None = None
        """When a look last succeeded."""
        self.due_since: float | None = None
        """Since when looks are due and none has succeeded."""
        self.writing_since: float | None = None
        """When the store was handed what it has not finished writing."""
        self.wrote_at = 0.0
        self.wrote_for = 0.0
        """How many seconds the last write took."""
        self._asked = Rate()
        self._room = Rate()

    def due(self, now: float) -> None:
        """A look is to be made."""
        if self.due_since is None:
            self.due_since = now

    def asked(self, jobs: int, room: int, now: float) -> None:
        """A request goes for so many jobs, of so many that it could have been for."""
        self.requests.add(1, now)
        self._asked.add(jobs, now)
        self._room.add(room, now)

    def fill(self, now: float) -> float | None:
        """Which part of what they could hold requests did hold; None without requests."""
        room = self._room.faded(now)
        return self._asked.faded(now) / room if room else None

    def looked(self, jobs: int, delays: Iterable[float], now: float) -> None:
        """A look at so many jobs succeeded; the ends that it found had gone unnoticed for so long."""
        self.looks.add(jobs, now)
        self.looked_at, self.due_since = now, None
        self.failures, self.trouble = 0, None
        for delay in delays:
            self.delays.add(delay, now)

    def failed(self, trouble: str) -> None:
        """A look failed."""
        self.failures += 1
        self.trouble = trouble

    def writes(self, now: float) -> None:
        """The store is asked to write."""
        self.writing_since = now

    def wrote(self, now: float) -> None:
        """It has, or could not."""
        if self.writing_since is not None:
            self.wrote_at, self.wrote_for = now, now - self.writing_since
        self.writing_since = None

    def saved(self, transitions: Iterable[Transition]) -> None:
        """These were stored."""
        self.ended.update(str(one.after.state) for one in transitions if one.after.state.ended)


def delay_of(bracket: float, *, asked: float, now: float) -> float:
    """How long an end went unnoticed, as far as can be known.

    It came at some time within the bracket, before we asked: in the middle, on average.
    """
    return bracket / 2 + now - asked
