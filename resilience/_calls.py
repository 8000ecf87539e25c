"""The calls of functions, but for the fast lane: what ``Guard.call`` does when something is restricted.

One attempt is the function and the judgement of what it gave, both within the attempt's time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

from resilience._attempt import Attempted, Finished
from resilience._context import CONTEXT, Frame, frame_of, settings_of
from resilience._core.policy.model import Repeat
from resilience._driver import Call, timed_out
from resilience._functions import check_function, is_spent_by_use
from resilience._hedge import hedged
from resilience._judging import hand_out, judge, single
from resilience._options import Options
from resilience._shared import Shared

CALLERS = frozenset(("resilience.guard", __name__, check_function.__module__))
"""The modules that call what was given."""


class Calls:
    """Makes the calls of one view of a guard.

    Args:
        shared: the live state of the account.
        options: the settings of the view.
        read: what ``Guard`` was given to read results.
    """

    __slots__ = ("_is_plain_success", "_options", "_read", "_shared")

    def __init__(self, shared: Shared, options: Options, read: Callable[[Any], Any] | None) -> None:
        self._shared = shared
        self._options = options
        self._read = read
        self._is_plain_success: Callable[[Any], bool] = shared.policy.plain.of_dict

    async def _ask_and_judge(  # private, and on a path where keywords cost
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        frame: Frame,
        options: Options,
    ) -> Any:
        """What ``func`` gave, if it is a plain success; else an ``Attempted``, judged.

        Reading what was returned may wait too, so a time-out has to cover both.
        """
        try:
            value = await func(*args, **kwargs)
        except Exception as error:  # noqa: BLE001
            check_call(func, error)
            tried = Attempted(exception=error)
        else:
            if type(value) is dict and self._is_plain_success(value):
                return value
            tried = Attempted(value=value)
        await judge(
            self._shared, self._read, tried, frame, endpoint_of(self._shared, func, options)
        )
        return tried

    async def within(  # private, and on a path where keywords cost
        self,
        limit: float,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        frame: Frame,
    ) -> Any:
        """The same, for at most so many seconds; asyncio's own time-out costs half of anyio's scope."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            with anyio.move_on_after(limit):
                return await self._ask_and_judge(func, args, kwargs, frame, self._options)
            return timed_out(limit)
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                return await self._ask_and_judge(func, args, kwargs, frame, self._options)
        except TimeoutError:
            if timeout.expired():
                return timed_out(limit)
            raise

    async def make(  # noqa: PLR0917  # private, and on a path where keywords cost
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        first: Attempted | None,
        epoch: int,
        started: float | None = None,
    ) -> Any:
        options = self._options.changed(settings_of(self._shared))
        endpoint = endpoint_of(self._shared, func, options)
        outer = frame_of(self._shared)
        if outer is not None:  # inside another call of this account: it decides, we only try
            before = outer.last
            tried = first or await self._attempt(func, args, kwargs, options)
            outer.saw(tried.found, tried.request, before=before)
            outer.spent = outer.spent or tried.spent
            return await hand_out(
                single(self._shared, tried, endpoint), self._shared.policy, options
            )
        once = any(map(is_spent_by_use, (*args, *kwargs.values())))
        if options.hedge is not None and not once and self._may_hedge(endpoint, options):
            attempt = partial(self._attempt, func, args, kwargs, options)
            finished = await self._hedged(options.hedge, attempt, options, endpoint)
            return await hand_out(finished, self._shared.policy, options)
        with Call(self._shared, options, endpoint=endpoint, started=started) as call:
            entered = None
            if first is None and self._shared.enforce:
                entered = await self._shared.enter(call.ticket)
            # made only now: there may be a hundred thousand who wait to be let in
            attempt = partial(self._attempt, func, args, kwargs, options)
            finished = await call.run(
                attempt, replayable=_never if once else _always, entered=entered,
                first=first, epoch=epoch,
            )  # fmt: skip
        return await hand_out(finished, self._shared.policy, options)

    async def _attempt(  # private, and on a path where keywords cost
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
    ) -> Attempted:
        """One attempt in a frame of its own, so that adapters below know that they are inside."""
        frame = Frame(self._shared, CONTEXT.get())
        token = CONTEXT.set(frame)
        try:
            told = await self._ask_and_judge(func, args, kwargs, frame, options)
        finally:
            CONTEXT.reset(token)
            frame.active = False
        return told if type(told) is Attempted else Attempted(value=told)

    async def _hedged(
        self,
        share: float,
        attempt: Callable[[], Awaitable[Attempted]],
        options: Options,
        endpoint: str,
    ) -> Finished:
        """A call, and a second one beside it if it takes longer than this share of those before."""
        shared, lane = self._shared, self._shared.lane(endpoint)
        calls: list[Call] = []

        async def going() -> Finished:
            with Call(shared, options, endpoint=endpoint) as call:
                calls.append(call)
                return await call.run(attempt, replayable=_always)

        try:
            return await hedged(
                going, shared.durations(endpoint), share,
                lambda: lane.budget.charge(lane.sent, shared.now().loop),
            )  # fmt: skip
        finally:
            for second in calls[1:]:
                if not second.ticket.sent:  # it was paid for, and never left
                    lane.budget.refund()

    def _may_hedge(self, endpoint: str, options: Options) -> bool:
        if options.idempotent is not None or not self._shared.enforce:
            return bool(options.idempotent) and self._shared.enforce
        described = self._shared.policy.endpoints.get(endpoint)
        return described is not None and described.repeat is Repeat.SAFE


def endpoint_of(shared: Shared, func: Callable[..., Any], options: Options) -> str:
    """Where a function belongs."""
    if options.endpoint:
        return options.endpoint
    while isinstance(func, partial):
        func = func.func
    return shared.policy.table.endpoint_of_function(getattr(func, "__name__", ""))


def _always(_: Attempted) -> bool:
    return True


def _never(_: Attempted) -> bool:
    return False


def check_call(func: Any, error: Exception) -> None:
    """Let the caller's own mistakes through as they are: wrong arguments, or nothing to await.

    A TypeError that was raised in here was not raised by the function but by calling it.
    """
    if not isinstance(error, TypeError) or (trace := error.__traceback__) is None:
        return
    while trace.tb_next is not None:
        trace = trace.tb_next
    if trace.tb_frame.f_globals.get("__name__") in CALLERS:
        try:
            check_function(func)
        except TypeError as mistake:
            raise mistake from None
        raise error
