"""The public face: a policy plus the live state of its scopes.

One account, one guard, shared by all tasks of an event loop.  ``call`` has two lanes.  On the fast
lane nothing is restricted and no time-out is set: it awaits the function, recognises a plain success
by one look at the body, and builds nothing.  Everything else goes to the driver.
"""

import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Never, ParamSpec, TypeVar, Unpack, cast, overload

from resilience import _state, observe
from resilience._attempt import Attempted
from resilience._calls import Calls, check_call, endpoint_of
from resilience._context import CONTEXT, Frame, Settings
from resilience._core.admission.breaker import CircuitBreaker
from resilience._core.admission.budget import RetryBudget
from resilience._core.admission.lane import Lane
from resilience._core.admission.machine import Machine
from resilience._core.admission.model import ScopeKey
from resilience._core.admission.waiting import MOST_WAITING
from resilience._functions import check_function
from resilience._judging import judge
from resilience._options import INFINITE, CallSettings, Options, seconds
from resilience._report import is_response, remember_success
from resilience._requests import Requests
from resilience._shared import MOST_TOPICS, Shared
from resilience.policies import Policy

if TYPE_CHECKING:
    import httpx
    import httpx2

    from resilience._state import Changes
    from resilience.adapters.aiohttp import Middleware

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")

_KEYS = ("sk-", "mpg-", "Bearer ", "Token ")
"""How the keys of APIs begin."""


class Guard:
    """Guards the calls of one account.

    Args:
        policy: a policy, or the name or path to load one from.
        account: a name for the account whose quotas are shared; never the API key.
        read: teaches ``call`` a result type: takes what the function returned and gives a mapping,
            an ``Outcome``, or None for "says nothing".
        observe: gets one record per attempt and per call; by default they go to the standard logger
            ``resilience``.
        wall: seconds since the epoch.
        chance: random numbers in ``[0, 1)``.
        breaker: settings of the circuit breakers, one per endpoint; None for none.
        budget: settings of the retry budgets, one per endpoint; None for none.
        most_waiting: calls that may wait at once; one more fails with reason ``crowd``.
        enforce: False only watches (shadow mode): every call is made once, at once, and gives what it
            gave; what the policy would have done goes to ``observe`` as a ``ShadowRecord``.

    Raises:
        PolicyError: the policy can't be loaded.
        ValueError: ``most_waiting`` is less than 0, or ``account`` looks like an API key.
    """

    __slots__ = (
        "_calls",
        "_is_plain_success",
        "_lanes",
        "_limit",
        "_machine",
        "_options",
        "_plain",
        "_read",
        "_shared",
    )

    def __init__(
        self,
        policy: Policy | str,
        account: str = "default",
        *,
        read: Callable[[Any], Any] | None = None,
        observe: observe.Observer = observe.default,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        breaker: CircuitBreaker | None = CircuitBreaker(),  # noqa: B008  # frozen
        budget: RetryBudget | None = RetryBudget(),  # noqa: B008
        most_waiting: int = MOST_WAITING,
        enforce: bool = True,
    ) -> None:
        if account.startswith(_KEYS):
            msg = "account: this looks like an API key, and accounts are logged and stored: give a name"
            raise ValueError(msg)
        if most_waiting < 0:
            msg = f"most_waiting={most_waiting!r}: calls that may wait at once, at least 0"
            raise ValueError(msg)
        loaded = policy if isinstance(policy, Policy) else Policy.load(policy)
        machine = Machine(most_waiting, breaker=breaker, budget=budget)
        self._shared = Shared(
            loaded,
            account,
            wall=wall,
            chance=chance,
            observer=observe,
            machine=machine,
            enforce=enforce,
        )
        self._read = read
        self._set(Options())

    def _set(self, options: Options) -> None:
        self._options = options
        self._machine = self._shared.machine
        # the default observer does not tell of plain successes, any other wants to hear of them
        told = self._shared.observer is not observe.default
        simple = options.hedge is None and options.cost == 1.0  # the fast lane counts calls
        self._plain = self._read is None and simple and not told
        self._is_plain_success: Callable[[Any], bool] = self._shared.policy.plain.of_dict
        self._calls = Calls(self._shared, options, self._read)
        limit = min(seconds(options.attempt_timeout), seconds(options.deadline))
        # a guard that only watches cuts nothing short
        self._limit = None if limit == INFINITE or not self.enforce else limit
        # by function name; a view with an endpoint of its own has its own
        self._lanes: dict[str, Lane] = {} if options.endpoint else self._shared.lanes_by_name

    # -- views --------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self._shared.policy

    @property
    def account(self) -> str:
        """The account's name."""
        return self._shared.account

    def options(self, **settings: Unpack[CallSettings]) -> "Guard":
        """A cheap view with other settings, sharing the same state.

        Args:
            settings: any of ``CallSettings``: ``max_attempts``, ``attempt_timeout``, ``deadline``,
                ``max_wait``, ``idempotent``, ``endpoint``, ``on_failure``, ``cost``, ``lane``,
                ``hedge``, ``stream``.

        Raises:
            TypeError: no such setting.
            ValueError: a value that makes no sense.
        """
        view = object.__new__(Guard)
        view._shared = self._shared
        view._read = self._read
        view._set(self._options.changed(dict(settings)))
        return view

    @contextmanager
    def using(self, **settings: Unpack[CallSettings]) -> Iterator[None]:
        """Settings for every call of this account inside the block, adapters in any SDK included.

        Takes what :meth:`options` takes.
        """
        # a wrong setting fails here, not in the middle of a call
        self._options.changed(dict(settings))
        token = CONTEXT.set(Settings(self._shared, dict(settings), CONTEXT.get()))
        try:
            yield
        finally:
            CONTEXT.reset(token)

    # -- calling ------------------------------------------------------------------------------

    async def call(  # noqa: C901, PLR0912  # the fast lane: every helper costs
        self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await ``func(*args, **kwargs)`` under the policy.

        Raises:
            FatalError, QuotaError, RetriesExhausted, CircuitOpen, DeadlineExceeded: see
                ``resilience.errors``.  Cancellation passes through untouched.
            TypeError: ``func`` is not an async function.
        """
        try:
            lane = self._lanes[func.__name__]
        except (AttributeError, KeyError):
            lane = self._find_lane(func)
        if (
            not self._plain
            or lane.doors
            or lane.in_flight >= lane.window
            or CONTEXT.get() is not None
        ):
            return cast("T", await self._calls.make(func, args, kwargs, None, 0))
        epoch = self._machine.epoch
        shared = self._shared
        reading = shared.clock()
        if reading >= lane.turn:
            lane.rotate(reading)
        lane.in_flight += 1
        lane.sent += 1
        frame = Frame(shared, None)
        token = CONTEXT.set(frame)
        try:
            if self._limit is None:
                value = await func(*args, **kwargs)
                if type(value) is dict and self._is_plain_success(value):
                    if lane.failing:
                        lane.failing -= 1
                    return value
                first = Attempted(value=value)
            else:
                told = await self._calls.within(self._limit, func, args, kwargs, frame)
                if type(told) is not Attempted:
                    if lane.failing:
                        lane.failing -= 1
                    return cast("T", told)
                first = told
        except Exception as error:  # noqa: BLE001  # judged, and raised in the end
            check_call(func, error)
            first = Attempted(exception=error)
        finally:
            lane.in_flight -= 1
            CONTEXT.reset(token)
            frame.active = False
        endpoint = endpoint_of(self._shared, func, self._options)
        if self._limit is None:
            await judge(shared, self._read, first, frame, endpoint)
        started = shared.began(reading)
        if first.found is None:
            if is_response(first.value) or self._options.on_failure == "return":
                elapsed = 0.0 if started is None else shared.clock() - started
                remember_success(first.value, self.policy, endpoint, elapsed)
            return cast("T", first.value)
        return cast("T", await self._calls.make(func, args, kwargs, first, epoch, started))

    def __call__(
        self, func: Callable[P, Awaitable[T]], *handler: Never
    ) -> Callable[P, Awaitable[T]]:
        """Decorate an async function.

        Raises:
            TypeError: a sync function or an async generator; or the guard itself was given to a
                session as its middleware.
        """
        if handler:
            raise TypeError(
                "a guard is no middleware: ClientSession(middlewares=[guard.aiohttp()])"
            )
        check_function(func)

        @wraps(func)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.call(func, *args, **kwargs)

        return guarded

    def aiohttp(self, hosts: Collection[str] | None = None) -> "Middleware":
        """A middleware for ``aiohttp.ClientSession(middlewares=[…])``, aiohttp 3.12 or later.

        Args:
            hosts: ``name`` or ``name:port`` of the servers to touch, instead of the policy's.
        """
        from resilience.adapters.aiohttp import Middleware  # aiohttp is optional

        return Middleware(self, hosts)

    @overload
    def httpx(
        self, inner: "httpx.AsyncBaseTransport | None" = None, hosts: Collection[str] | None = None
    ) -> "httpx.AsyncBaseTransport": ...

    @overload
    def httpx(
        self, inner: "httpx2.AsyncBaseTransport", hosts: Collection[str] | None = None
    ) -> "httpx2.AsyncBaseTransport": ...

    def httpx(self, inner: Any = None, hosts: Collection[str] | None = None) -> Any:
        """A transport for ``httpx.AsyncClient(transport=…)``, or for httpx2's.

        ``extensions={"resilience": {"deadline": 30}}`` gives settings of one request, the same that
        :meth:`options` takes; they come before those of :meth:`using`.

        Args:
            inner: the transport that sends; None is ``httpx.AsyncHTTPTransport()``.
            hosts: ``name`` or ``name:port`` of the servers to touch, instead of the policy's.

        Raises:
            TypeError: ``inner`` is not an async transport.
        """
        from resilience.adapters.httpx import wrapped  # httpx is optional

        return wrapped(self, hosts, inner)

    def install(self, client: C, hosts: Collection[str] | None = None) -> C:
        """Guard an ``httpx.AsyncClient`` (or httpx2's) in place; its proxies, TLS and limits stay.

        Installing it again does not wrap twice; the newest settings hold.

        Args:
            client: of your own, or one that you give to an SDK.
            hosts: ``name`` or ``name:port`` of the servers to touch, instead of the policy's.

        Returns:
            The same client.

        Raises:
            TypeError: a client of another kind, a sync one included.
        """
        from resilience.adapters.httpx import install  # httpx is optional

        install(self, hosts, client)
        return client

    @property
    def enforce(self) -> bool:
        """False if it only watches."""
        return self._shared.enforce

    def wrap(
        self,
        client: T,
        *,
        only: Collection[str] | None = None,
        skip: Collection[str] = (),
        repeat: Collection[str] = (),
        threads: bool = False,
    ) -> T:
        """The same client with its calls guarded: a proxy, the client itself is not changed.

        Patterns are of dotted names, as in a shell: ``"videos.*"``, ``"add_message"``, ``"*.list"``.

        Args:
            client: an object with methods to await, on itself or on resources below it.
            only: nothing else is guarded (None: everything that can be).
            skip: these are not.
            repeat: these may be done twice without harm, so an attempt of which nobody knows what
                became of it is repeated too.  A method's name tells the endpoint where the policy
                knows it; no name tells that ``add`` merges or that ``charge`` does not.
            threads: sync methods become coroutine functions that run in worker threads.  A call that is
                cancelled or times out does not wait for its thread, which goes on to its end.

        Raises:
            TypeError: nothing was wrapped (a sync client without ``threads``, a class, a module, a
                function), or ``only`` names a sync method without ``threads``.
            ValueError: a pattern matches nothing.
        """
        from resilience.adapters.objects import wrap

        return wrap(self, client, only=only, skip=skip, repeat=repeat, threads=threads)

    def requests(self) -> Requests:
        """For adapters of transports: sends requests, in place of calls of functions."""
        return Requests(self._shared, self._options, plain=self._plain and self._limit is None)

    # -- looking in and stepping in ------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The state of every door and budget, with what closed it: plain data for ``json.dumps``.

        ``{"account", "policy", "waiting", "doors", "paced", "budgets", "unknown", "unknown_overflow"}``.
        ``doors`` are those that are
        closed: ``{"scope", "state", "recovers", "code", "title", "remedy", "closings", "resume_at"}``,
        with ``state`` ``closed`` or ``probing`` and ``resume_at`` in ISO 8601 (UTC); a breaker's
        scope is ``breaker:<endpoint>``, and nothing ``recovers`` it but a sign of life.  ``paced`` are
        open at a learned pace: ``{"scope", "state", "rate", "room", "in_flight"}``, in units per
        second and calls.  ``budgets``: ``{"endpoint", "tokens", "waiting", "suppressed"}``, retries.

        ``unknown`` are the codes that came since the guard was made and that no rule of the policy
        lists: ``{"code", "count", "endpoints", "verdict", "recovers", "matched_by", "first_seen",
        "last_seen", "stanza"}``.  ``verdict`` is what it was taken for the last time and
        ``matched_by`` says by which rule; the instants are in ISO 8601 (UTC); ``stanza`` is TOML
        that lists the code so, to be corrected and pasted into a policy file.  At most 200 codes are
        held, with 20 endpoints each; ``unknown_overflow`` counts outcomes that had yet another code.

        Call it inside the event loop.
        """
        return _state.snapshot(self._shared)

    def subscribe(self) -> "Changes":
        """Follow the changes of the doors from now on.

        ::

            with guard.subscribe() as changes:
                async for change in changes:
                    print(change["scope"], change["state"], change.get("code"))

        Each is plain data, as in :meth:`snapshot`; a door that is wide open again is
        ``{"scope", "state": "open"}``.
        """
        return _state.Changes(self._shared)

    def restore(self, snapshot: Mapping[str, Any]) -> list[str]:
        """Close the doors that are closed in a snapshot of before a restart.

        An account that is exhausted until midnight still is.  What was stored as JSON
        (``json.dumps(guard.snapshot())``) is taken as it is read back.  Breakers, paces
        and budgets are not restored: they learn in seconds.  Call it inside the event loop.

        Returns:
            The scopes that are closed now.

        Raises:
            ValueError: the snapshot is of another account, or not a snapshot; nothing was closed.
        """
        return _state.restore(self._shared, snapshot)

    def reset(self, scope: str | None = None) -> list[str]:
        """Open the doors of a scope, or all: for people who just topped up or mended a key.

        Args:
            scope: ``account``, ``endpoint:list`` or ``group:chat``, as in ``snapshot``; None for all.

        Returns:
            The scopes that were closed.  Those who wait before them go on.
        """
        opened = self._shared.machine.reset(None if scope is None else ScopeKey(scope))
        if opened:
            self._shared.pump()
        return [str(key) for key in opened]

    # -- where a function belongs --------------------------------------------------------------

    def _find_lane(self, func: Callable[..., Any]) -> Lane:
        lane = self._shared.lane(endpoint_of(self._shared, func, self._options))
        name = getattr(func, "__name__", None)
        if isinstance(name, str) and len(self._lanes) < MOST_TOPICS:
            self._lanes[name] = lane
        return lane
