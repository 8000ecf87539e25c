"""One request on its way through the emulator: doors first, then the work, then the answer.

The order is that of a gateway: a scripted fault, the key, the limit, the balance, the parameters.
A request that is rejected at a door is not counted by the doors behind it.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aiohttp import web

from .faults import Armed, Fault
from .log import Seen
from .provider import ProviderState, now
from .replies import send, send_fault
from .surface import RefusedError, Reply, Surface

S = TypeVar("S", bound=ProviderState)
Handler = Callable[[S, "Exchange"], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[S]):
    """A path of the API, the interface it counts for, what it does, and how it says it."""

    method: str
    name: str
    path: str
    interface: str
    handler: Handler[S]
    surface: Surface

    @property
    def fault_names(self) -> tuple[str, ...]:
        """Queues of faults to look into, the most particular first."""
        return tuple(dict.fromkeys((self.name, self.interface, "any")))


Row = tuple[str, str, str, Handler[S]]
"""Method, path below the surface's root, interface, handler."""


def table(prefix: str, rows: Iterable[Row[S]], *, surface: Surface) -> tuple[Endpoint[S], ...]:
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
    surface: Surface
    time: float = field(default_factory=now)
    video_nos: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    tokens: int = 0
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
        self,
        state: ProviderState,
        *,
        code: str | None,
        status: int | None,
        fault: str | None = None,
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
            ids=self.ids,
            tokens=self.tokens,
            code=code,
            status=status,
            fault=fault,
        )
        state.seen.append(seen)


def begin(state: ProviderState, request: web.Request, interface: str, surface: Surface) -> Exchange:
    """Note the arrival of a request."""
    return Exchange(
        request=request,
        interface=interface,
        account=state.keys.account(request.headers.get("Authorization")),
        number=next(state.numbers),
        surface=surface,
    )


async def answer(state: S, endpoint: Endpoint[S], request: web.Request) -> web.StreamResponse:
    """Answer one request to the API, with the fault that was scripted for it."""
    exchange = begin(state, request, endpoint.interface, endpoint.surface)
    try:
        return await _answer(state, endpoint, exchange)
    except ConnectionError:  # the client left: there is nobody to tell
        exchange.record(state, code=None, status=None)
        return web.Response()


async def refuse(
    state: ProviderState, exchange: Exchange, refusal: RefusedError, *, log: bool = True
) -> web.StreamResponse:
    """Answer a request that no endpoint is for."""
    reply = exchange.surface.refuse(refusal, exchange.request_id)
    exchange.recorded = not log
    return await _answer_well(state, exchange, reply, None)


async def _answer(state: S, endpoint: Endpoint[S], exchange: Exchange) -> web.StreamResponse:
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


async def _carry_out(state: S, endpoint: Endpoint[S], exchange: Exchange) -> Reply:
    try:
        exchange.account = state.keys.check(exchange.request.headers.get("Authorization"))
        state.admit(exchange)
        return await endpoint.handler(state, exchange)
    except RefusedError as refusal:
        return exchange.surface.refuse(refusal, exchange.request_id)


async def _answer_late(
    state: ProviderState, exchange: Exchange, armed: Armed, reply: Reply
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
    state: ProviderState, exchange: Exchange, reply: Reply, fault: Fault | None
) -> web.StreamResponse:
    name = fault.name if fault else None
    exchange.record(state, code=reply.code, status=reply.status, fault=name)
    given = exchange.surface.headers(exchange.request_id)
    headers = {**given, **reply.headers, **(fault.headers if fault else {})}
    return await send(state, exchange.request, exchange.surface, reply, headers)


async def _spoil(
    state: ProviderState, exchange: Exchange, fault: Fault, reply: Reply | None
) -> web.StreamResponse:
    spoiled = await state.spoil(exchange, fault, reply)
    sent = None if fault.abort == "before" else spoiled.status
    exchange.record(state, code=spoiled.code, status=sent, fault=fault.name)
    given = exchange.surface.headers(exchange.request_id)
    return await send_fault(exchange.request, fault, spoiled, given)
