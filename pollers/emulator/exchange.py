"""One request on its way through the emulator: doors first, then the work, then the answer.

The order is that of a gateway: a scripted fault, the key, the limit, the balance, the parameters.
A request that is rejected at a door is not counted by the doors behind it.
"""

import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

from .faults import Armed, Fault
from .log import Seen
from .replies import send, send_fault, spoilt
from .state import State, now
from .wire import BAD_PARAMETERS, SUCCESS, TOO_MANY, RefusedError, Reply, failure

Handler = Callable[[State, "Exchange"], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path of the API, the interface it counts for, and what it does."""

    method: str
    name: str
    path: str
    interface: str
    handler: Handler

    @property
    def fault_names(self) -> tuple[str, ...]:
        """Queues of faults to look into, the most particular first."""
        return tuple(dict.fromkeys((self.name, self.interface, "any")))


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What becomes known about a request while it is answered."""

    request: web.Request
    interface: str
    account: str | None
    time: float = field(default_factory=now)
    video_nos: tuple[str, ...] = ()
    task_id: str | None = None
    recorded: bool = False

    @property
    def owner(self) -> str:
        """The account, once the key has been checked."""
        if self.account is None:
            raise RuntimeError("the key was not checked")
        return self.account

    async def json(self) -> Any:
        """The body as JSON; an empty one is an empty object."""
        raw = await self.request.read()
        try:
            return json.loads(raw) if raw.strip() else {}
        except ValueError as exc:
            raise RefusedError(BAD_PARAMETERS, "the body is not JSON") from exc

    async def json_object(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        body = await self.json()
        if not isinstance(body, dict):
            raise RefusedError(BAD_PARAMETERS, "the body must be a JSON object")
        return body

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
            task_id=self.task_id,
            code=code,
            status=status,
            fault=fault,
        )
        state.seen.append(seen)


def begin(state: State, request: web.Request, interface: str) -> Exchange:
    """Note the arrival of a request."""
    account = state.keys.account(request.headers.get("Authorization"))
    return Exchange(request=request, interface=interface, account=account)


async def answer(state: State, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """Answer one request to the API, with the fault that was scripted for it."""
    exchange = begin(state, request, endpoint.interface)
    try:
        return await _answer(state, endpoint, exchange)
    except ConnectionError:  # the client left: there is nobody to tell
        exchange.record(state, code=None, status=None)
        return web.Response()


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
        return Reply(failure(refusal.code, refusal.message), refusal.headers)


def _knock(state: State, exchange: Exchange) -> None:
    """Count the request against its limit, or refuse it."""
    rest = state.windows.admit(exchange.owner, exchange.interface, now())
    if rest is not None:
        hint = {"Retry-After": str(max(1, math.ceil(rest)))} if state.settings.retry_after else {}
        raise RefusedError(TOO_MANY, headers=hint)


async def _answer_late(
    state: State, exchange: Exchange, armed: Armed, reply: Reply
) -> web.StreamResponse:
    """The work was done, or refused: only done work meets its fault."""
    if reply.code != SUCCESS:
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
    exchange.record(state, code=reply.code, status=int(HTTPStatus.OK), fault=name)
    headers = {**reply.headers, **(fault.headers if fault else {})}
    return send(reply, headers)


async def _spoil(
    state: State, exchange: Exchange, fault: Fault, reply: Reply | None
) -> web.StreamResponse:
    sent = None if fault.abort == "before" else fault.status or int(HTTPStatus.OK)
    spoiled = spoilt(fault, reply, path=exchange.request.path, number=len(state.seen))
    exchange.record(state, code=spoiled.code, status=sent, fault=fault.name)
    return await send_fault(exchange.request, fault, spoiled)
