"""One request on its way through the emulator: doors first, then the work, then the answer.

The order is that of a gateway: a scripted fault, the key, the limit, the balance, the parameters.
A request that is rejected at a door is not counted by the doors behind it.
"""

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import web

from .faults import Armed, Fault
from .log import Seen
from .replies import send, send_fault, spoilt
from .state import State, now
from .surface import VISUAL_SEARCH, Surface
from .wire import TOO_MANY, RefusedError, Reply

Handler = Callable[[State, "Exchange"], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path of the API, the interface it counts for, and what it does."""

    method: str
    name: str
    path: str
    interface: str
    handler: Handler
    surface: Surface = VISUAL_SEARCH

    @property
    def fault_names(self) -> tuple[str, ...]:
        """Queues of faults to look into, the most particular first."""
        return tuple(dict.fromkeys((self.name, self.interface, "any")))


Row = tuple[str, str, str, Handler]
"""Method, path below the surface's root, interface, handler."""


def table(
    prefix: str, rows: Iterable[Row], *, surface: Surface = VISUAL_SEARCH
) -> tuple[Endpoint, ...]:
    """The endpoints of a surface; each is called as its handler is."""
    return tuple(
        Endpoint(
            method=method,
            name=handler.__name__,
            path=f"{prefix}/{path}",
            interface=interface,
            handler=handler,
            surface=surface,
        )
        for method, path, interface, handler in rows
    )


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What becomes known about a request while it is answered."""

    request: web.Request
    interface: str
    account: str | None
    number: int
    surface: Surface = VISUAL_SEARCH
    time: float = field(default_factory=now)
    video_nos: tuple[str, ...] = ()
    recorded: bool = False

    @property
    def owner(self) -> str:
        """The account, once the key has been checked."""
        if self.account is None:
            raise RuntimeError("the key was not checked")
        return self.account

    @property
    def request_id(self) -> str:
        """What the answer calls this request, where it does."""
        return f"req_{self.number:08x}"

    def record(
        self, state: State, *, code: str | None, status: int | None, fault: str | None = None
    ) -> None:
        """Put this request into the log; only its first record counts."""
        if self.recorded:
            return
        self.recorded = True
        seen = Seen(
            time=self.time,
            method=self.request.method,
            path=self.request.path,
            interface=self.interface,
            account=self.account,
            video_nos=self.video_nos,
            code=code,
            status=status,
            fault=fault,
        )
        state.seen.append(seen)


def begin(
    state: State, request: web.Request, interface: str, surface: Surface = VISUAL_SEARCH
) -> Exchange:
    """Note the arrival of a request."""
    return Exchange(
        request=request,
        interface=interface,
        account=state.keys.account(request.headers.get("Authorization")),
        number=next(state.numbers),
        surface=surface,
    )


async def answer(state: State, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """Answer one request to the API, with the fault that was scripted for it."""
    exchange = begin(state, request, endpoint.interface, endpoint.surface)
    try:
        return await _answer(state, endpoint, exchange)
    except ConnectionError:  # the client left: there is nobody to tell
        exchange.record(state, code=None, status=None)
        return web.Response()


async def refuse(
    state: State, exchange: Exchange, refusal: RefusedError, *, log: bool = True
) -> web.StreamResponse:
    """Answer a request that no endpoint is for."""
    reply = exchange.surface.refuse(refusal, exchange.request_id)
    exchange.recorded = not log
    return await _answer_well(state, exchange, reply, None)


async def _answer(state: State, endpoint: Endpoint, exchange: Exchange) -> web.StreamResponse:
    armed = state.faults.draw(endpoint.fault_names)
    fault = armed.fault if armed else None
    if fault is not None and not fault.after_work:
        await state.pause(fault.delay)
        if fault.replaces:
            return await _spoil(state, exchange, fault, None)
    reply = await _carry_out(state, endpoint, exchange)
    if armed is not None and armed.fault.after_work:
        return await _answer_late(state, exchange, armed, reply)
    return await _answer_well(state, exchange, reply, fault)


async def _carry_out(state: State, endpoint: Endpoint, exchange: Exchange) -> Reply:
    try:
        exchange.account = state.keys.check(exchange.request.headers.get("Authorization"))
        _knock(state, exchange)
        if state.settings.pause_when_empty:
            state.points.check(exchange.account, 0)
        return await endpoint.handler(state, exchange)
    except RefusedError as refusal:
        return exchange.surface.refuse(refusal, exchange.request_id)


def _knock(state: State, exchange: Exchange) -> None:
    """Count the request against its limit, or refuse it."""
    rest = state.windows.admit(exchange.owner, exchange.interface, now())
    if rest is not None:
        tells = state.settings.retry_after or exchange.surface.tells_when
        hint = {"Retry-After": str(max(1, math.ceil(rest)))} if tells else {}
        raise RefusedError(TOO_MANY, headers=hint)


async def _answer_late(
    state: State, exchange: Exchange, armed: Armed, reply: Reply
) -> web.StreamResponse:
    """The work was done, or refused: only done work meets its fault."""
    if reply.refused:
        armed.put_back()
        return await _answer_well(state, exchange, reply, None)
    await state.pause(armed.fault.delay)
    if armed.fault.replaces:
        return await _spoil(state, exchange, armed.fault, reply)
    return await _answer_well(state, exchange, reply, armed.fault)


async def _answer_well(
    state: State, exchange: Exchange, reply: Reply, fault: Fault | None
) -> web.StreamResponse:
    name = fault.name if fault else None
    exchange.record(state, code=reply.code, status=reply.status, fault=name)
    given = exchange.surface.headers(exchange.request_id)
    headers = {**given, **reply.headers, **(fault.headers if fault else {})}
    return await send(state, exchange.request, exchange.surface, reply, headers)


async def _spoil(
    state: State, exchange: Exchange, fault: Fault, reply: Reply | None
) -> web.StreamResponse:
    spoiled = spoilt(
        fault,
        reply,
        surface=exchange.surface,
        path=exchange.request.path,
        request_id=exchange.request_id,
    )
    sent = None if fault.abort == "before" else spoiled.status
    exchange.record(state, code=spoiled.code, status=sent, fault=fault.name)
    given = exchange.surface.headers(exchange.request_id)
    return await send_fault(exchange.request, fault, spoiled, given)
