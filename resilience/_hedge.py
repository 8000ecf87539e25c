"""Hedging: when a read is slower than most, ask once more, and take whichever answers first.

Dean and Barroso, "The Tail at Scale" (2013).  It is a wrapper around whole calls, outside the loop
that attempts and waits, so that each of the two obeys doors and limits by itself.  The second one is
sent after a quantile of the durations seen so far, and only if the retry budget has a token, so that
hedges can't double the load when everything is slow.  The loser is cancelled, and a response of its
is released.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from operator import itemgetter

import anyio

from resilience._attempt import Finished, release_response

SAMPLES = 100
"""Durations that are remembered per endpoint."""

ENOUGH = 20
"""Durations that must be known before anything is hedged."""


class Durations:
    """Seconds that the last successful calls of an endpoint took."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        """One more."""
        self._recent.append(seconds)

    def quantile(self, share: float) -> float:
        """Within so many seconds this share of them was over; infinite while too few are known."""
        if len(self._recent) < ENOUGH:
            return math.inf
        ordered = sorted(self._recent)
        return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1]


async def hedged(
    run: Callable[[], Awaitable[Finished]],
    durations: Durations,
    share: float,
    pay: Callable[[], bool],
) -> Finished:
    """Run a call, and once more beside it if it is slow; the first success, else the first's end.

    Args:
        run: makes the whole call; raises nothing but cancellation and the caller's own mistakes.
        durations: of earlier calls.
        share: the quantile of them after which the second is sent.
        pay: takes a token of the retry budget; False if there is none.
    """
    ended: list[tuple[int, Finished]] = []
    mistakes: list[Exception] = []
    news = anyio.Event()

    async def one(number: int) -> None:
        started = anyio.current_time()
        try:
            finished = await run()
        except Exception as mistake:  # noqa: BLE001  # raised below, not as a group
            mistakes.append(mistake)
        else:
            ended.append((number, finished))
            if finished.reason is None:
                durations.add(anyio.current_time() - started)
        news.set()

    under_way = 1
    async with anyio.create_task_group() as group:
        group.start_soon(one, 1)
        wait = durations.quantile(share)
        with anyio.move_on_after(None if wait == math.inf else wait):
            await news.wait()
        if not ended and not mistakes and pay():
            under_way = 2
            group.start_soon(one, 2)
        while not mistakes and len(ended) < under_way and not _won(ended):
            news = anyio.Event()
            await news.wait()
        group.cancel_scope.cancel()
    if mistakes:
        raise mistakes[0]
    winner = _won(ended) or min(ended, key=itemgetter(0))[1]
    for _, loser in ended:
        if loser is not winner and loser.last is not None:
            await release_response(loser.last)
    return winner


def _won(ended: list[tuple[int, Finished]]) -> Finished | None:
    return next((finished for _, finished in ended if finished.reason is None), None)
