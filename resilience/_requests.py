"""For adapters of transports: requests of a client instead of calls of a function."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from resilience import observe
from resilience._attempt import Attempted, First
from resilience._context import CONTEXT, frame_of, has_failed, settings_of
from resilience._core.admission.lane import Lane
from resilience._core.policy.model import Certainty
from resilience._core.policy.repeat import may_repeat
from resilience._driver import Call
from resilience._judging import classified, hand_back, single
from resilience._options import Options
from resilience._shared import Shared

LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))

NEAR = 0.8
"""How alike two names are: a typo, or ``staging.`` for ``api.``."""


class Requests:
    """Sends the requests of a client through a guard; made by ``Guard.requests``.

    Args:
        shared: the live state of the account.
        options: the settings of the guard's view.
        plain: nothing is set that the fast lane could not do.
    """

    __slots__ = ("_options", "_plain", "_shared", "sending")

    def __init__(self, shared: Shared, options: Options, *, plain: bool) -> None:
        self._shared = shared
        self._options = options
        self._plain = plain
        self.sending = shared.sending

    def fast_lane(self, method: str, path: str) -> tuple[Lane, int, float] | None:
        """If nothing is restricted, set or under way, what dates an attempt now.

        It counts as under way until ``in_flight`` of the lane is one less again.
        """
        if not self._plain or CONTEXT.get() is not None:
            return None
        named = self._options.endpoint
        lane = self._shared.lane(named) if named else self._shared.lane_of_request(method, path)
        if lane.doors or lane.in_flight >= lane.window:
            return None
        reading = self._shared.clock()
        lane.went(reading)
        return lane, self._shared.machine.epoch, reading

    def tell_unguarded(self, host: str, hosts: Collection[str]) -> None:
        """Say once that a host is let through, or nobody would notice a wrong list."""
        if self._shared.once(f"unguarded: {host}"):
            tell = observe.LOG.warning if _looks_meant(host, hosts) else observe.LOG.info
            tell("requests to %r pass unguarded: it is not in hosts", host)

    def since(self, reading: float) -> float:
        """Seconds since the reading that ``fast_lane`` gave."""
        return self._shared.clock() - reading

    async def send(
        self,
        attempt: Callable[[], Awaitable[Attempted]],
        *,
        method: str,
        path: str,
        deadline: float | None,
        replayable: Callable[[Attempted], bool],
        first: First | None = None,
        settings: Mapping[str, Any] | None = None,
        repeated: bool = False,
    ) -> Any:
        """Run one request of a client, and hand back the last response.

        ``attempt`` gives an outcome in ``body`` (none for a plain success); it is judged here.
        ``first`` is an attempt that was made already, while nothing was restricted.  ``settings``
        came with the request; ``repeated`` says that an SDK above makes it once more, so it gets one
        attempt.  Raises only when there is no response: the client's own exception, or a
        ``ResilienceError`` if nothing was sent.
        """
        once = {"max_attempts": 1} if repeated else {}
        options = self._options.changed({**settings_of(self._shared), **(settings or {}), **once})
        endpoint = options.endpoint or self._shared.policy.table.endpoint_of_request(method, path)

        def judge(tried: Attempted) -> Attempted:
            if tried.body is not None:
                tried.found = classified(self._shared, replace(tried.body, method=method), endpoint)
            return tried

        async def judged() -> Attempted:
            return judge(await attempt())

        outer = frame_of(self._shared)
        if outer is not None:
            if repeated and self._shared.enforce and has_failed(outer.last):
                # whether to repeat is for the call around it to say, and it knows the failure
                hand_back(
                    single(self._shared, Attempted(found=outer.last), endpoint), self._shared.policy
                )
            before = outer.last
            tried = await judged()
            outer.saw(tried.found, (endpoint, method), before=before)
            outer.spent = outer.spent or self._spends(tried, endpoint, method)
            finished = single(self._shared, tried, endpoint)
        else:
            started = self._shared.began(first.reading) if first else None
            with Call(
                self._shared, options, endpoint=endpoint, method=method, deadline=deadline,
                started=started,
            ) as call:  # fmt: skip
                finished = await call.run(
                    judged, replayable=replayable,
                    first=judge(first.tried) if first else None, epoch=first.epoch if first else 0,
                )  # fmt: skip
        return hand_back(finished, self._shared.policy)

    def _spends(self, tried: Attempted, endpoint: str, method: str) -> bool:
        """Whether this request was done, and nothing says that it may be done twice."""
        if tried.exception is not None or has_failed(tried.found):
            return False
        return not may_repeat(
            Certainty.EXECUTED,
            idempotent=None,
            endpoint=self._shared.policy.endpoints.get(endpoint),
            method=method,
            earlier_maybe=0,
        )


def _looks_meant(host: str, hosts: Collection[str]) -> bool:
    """Whether it is probably missing from the list: a test server, or nearly the name of another.

    Another port of a host that is listed is no accident.
    """
    names = {one.partition(":")[0] for one in hosts}
    near = host in LOOPBACK or get_close_matches(host, names, n=1, cutoff=NEAR)
    return host not in names and bool(near)
