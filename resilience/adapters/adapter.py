"""What the adapters of all clients do alike: whose request it is, the fast lane, the guarded call.

A client's own adapter says how to read a response, whether a request can be sent again, and where
they keep what we have to know.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

from resilience._attempt import Attempted, First
from resilience._core.policy.model import Outcome
from resilience._report import remember_success, report
from resilience.adapters.repeats import is_repeat
from resilience.adapters.results import outcome_of_exception
from resilience.guard import Guard

Request = TypeVar("Request")
Response = TypeVar("Response")

ERROR = 400
"""The first HTTP status that is a failure."""


class Adapter(Generic[Request, Response]):
    """Sends the requests of one client through a guard.

    Args:
        guard: a guard, or a view of one.
        hosts: ``name`` or ``name:port`` of the servers to touch; None takes the policy's.

    Raises:
        ValueError: no hosts, or something that is not a host's name.
        TypeError: one text instead of a list.
    """

    __slots__ = ("_is_success", "_requests", "guard", "hosts")

    def __init__(self, guard: Guard, hosts: Collection[str] | None) -> None:
        self.use(guard, hosts)

    def use(self, guard: Guard, hosts: Collection[str] | None) -> None:
        """Go on with these settings."""
        self.guard = guard
        self._requests = guard.requests()
        self._is_success = guard.policy.plain.of_bytes
        self.hosts = _checked(guard.policy.hosts if hosts is None else hosts)

    # -- what a client's own adapter knows -----------------------------------------------------

    async def _read(self, response: Response) -> Attempted:
        """What a response brought; no outcome in ``body`` if that is certainly a success.

        A connection that breaks meanwhile is the outcome of that exception.
        """
        raise NotImplementedError

    def _is_plain(self, _response: Response) -> bool:
        """Whether it is known already, without reading, that this is a success."""
        return False

    def _replayable(self, request: Request, tried: Attempted) -> bool:
        """Whether the request can be sent once more, whole, after this attempt."""
        raise NotImplementedError

    def _path(self, request: Any) -> str:
        raise NotImplementedError

    def _deadline(self, _request: Request) -> float | None:
        """Seconds that the client itself gives the whole request."""
        return None

    def _settings(self, _request: Request) -> Mapping[str, Any] | None:
        """Settings that were given with the request."""
        return None

    def _give_up(self, _response: Response) -> None:
        """The guard won't try again after this response; say so to those who might."""

    # -- what they have in common --------------------------------------------------------------

    async def _send(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """One request of the client; of several adapters of one account the outermost decides."""
        sending = self._requests.sending
        if id(request) in sending:
            return await handler(request)
        sending.add(id(request))
        try:
            return await self._guarded(request, handler)
        finally:
            sending.discard(id(request))

    async def _guarded(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """One request of the client, with everything the guard does about it."""
        guard, requests, settings = self.guard, self._requests, self._settings(request)
        repeated = is_repeat(request.headers)
        path = self._path(request)
        fast = None if settings or repeated else requests.fast_lane(request.method, path)
        first = None
        if fast is not None:
            lane, epoch, reading = fast
            try:
                response = tried = await self._try(request, handler)
                if type(tried) is not Attempted:  # like in ``Guard.call``, a success builds nothing
                    if lane.failing:
                        lane.failing -= 1
                    where = request.method, request.url
                    remember_success(response, guard.policy, where, requests.since(reading))
                    return response
            finally:
                lane.in_flight -= 1
            first = First(tried, epoch, reading)

        async def attempt() -> Attempted:
            tried = await self._try(request, handler)
            return tried if type(tried) is Attempted else Attempted(value=tried)

        response = await requests.send(
            attempt,
            method=request.method,
            path=path,
            deadline=self._deadline(request),
            replayable=lambda tried: self._replayable(request, tried),
            first=first,
            settings=settings,
            repeated=repeated,
        )
        told = report(response)
        if told is not None and told.error is not None and guard.enforce:
            self._give_up(response)
        return response

    async def _try(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The response, if it certainly is a success; else an ``Attempted`` with an outcome."""
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001  # judged, and raised in the end
            return Attempted(exception=error, body=outcome_of_exception(error))
        if self._is_plain(response):
            return response
        tried = await self._read(response)
        return response if tried.body is None else tried

    def _is_ours(self, host: str, port: int | None) -> bool:
        ours = host in self.hosts or f"{host}:{port}" in self.hosts
        if not ours:
            self._requests.tell_unguarded(host, self.hosts)
        return ours


async def read_with(
    outcome_of_response: Callable[[Any], Awaitable[Outcome]], response: Any, status: int
) -> Attempted:
    """What a response brought; a connection that breaks in the body is an exception's outcome."""
    try:
        return Attempted(value=response, body=await outcome_of_response(response))
    except Exception as error:  # noqa: BLE001
        broken = Outcome(status=status, headers=response.headers, exception=error)
        return Attempted(exception=error, body=broken)


def _checked(hosts: Collection[str]) -> frozenset[str]:
    """An adapter that silently guards nothing is worse than none."""
    if isinstance(hosts, str):
        raise TypeError(f"hosts={hosts!r}: give a list of names, not one text")
    for host in hosts:
        if "/" in host:
            raise ValueError(f"hosts: {host!r} is not 'name' or 'name:port' (no scheme, no path)")
    if not hosts:
        raise ValueError("hosts: the policy names none, so say which servers to guard: hosts=['…']")
    return frozenset(host.lower() for host in hosts)  # as both clients give them
