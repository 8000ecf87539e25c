"""What users give to a poller, checked: every mistake names the field and the value."""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from pollers._core.looks import KIND, PREDICTORS
from pollers._core.model import State
from pollers._core.submit import NAME
from pollers._watch import INFINITE, Pace
from pollers.sinks.base import Sink
from pollers.sinks.callback import Callback, CallbackSink
from pollers.sources.base import Source


def sources(given: Sequence[Source]) -> None:
    if not given:
        raise ValueError("a poller needs at least one source")
    for source in given:
        if not callable(getattr(source, "look", None)):
            raise TypeError(
                f"{source!r} is not a source: give MemoriesVideos(session) or "
                "CallableSource(ask, …), and the ids to 'await poller.watch(id)'"
            )
        if not source.guard.enforce:  # a rejection would look like an answer without the job
            raise ValueError(
                f"the guard of {source.kind!r} has enforce=False: it only watches, and can't tell "
                "a request that failed from a job that is missing; give the source another"
            )


def pace(
    *,
    min_interval: float,
    max_interval: float,
    grace: float,
    final_grace: float,
    look_price: float,
) -> Pace:
    if not 0 < min_interval <= max_interval:
        raise ValueError(f"min_interval={min_interval!r}: above 0 and at most max_interval")
    if not 0 < look_price < INFINITE:
        raise ValueError(f"look_price={look_price!r}: expected seconds, above 0")
    return Pace(
        min_interval=min_interval, max_interval=max_interval, look_price=look_price,
        grace=span("grace", grace), final_grace=span("final_grace", final_grace),
    )  # fmt: skip


def stops_when_refused(on_refused: str) -> bool:
    if on_refused not in ("stall", "stop"):
        raise ValueError(f"on_refused={on_refused!r}: 'stall' or 'stop'")
    return on_refused == "stop"


def keep(given: float | timedelta | None) -> float | None:
    known = None if given is None else seconds(given)
    if known is not None and not known > 0:
        raise ValueError(f"keep={given!r}: seconds above 0, or None for ever")
    return known


def sink(given: Callback | Sink) -> Sink:
    if isinstance(given, Sink):
        return given
    if not callable(given):
        raise TypeError(f"sinks: {given!r} is neither a function nor a Sink")
    return CallbackSink(given)


def refuse_twins(what: str, names: Iterable[str]) -> None:
    """Two of one name would share jobs or a cursor, and lose what belongs to the other."""
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ValueError(f"two {what} are the same: {', '.join(twins)}; give them different names")


def parts(items: Iterable[str | tuple[str, Any]], most: int) -> Iterator[list[tuple[str, Any]]]:
    """Ids, or pairs of id and data, as pairs, so many at a time."""
    if isinstance(items, str):
        raise TypeError(f"watch_many({items!r}): give a list of ids, not one text")
    pairs = (one if isinstance(one, tuple) else (one, None) for one in items)
    checked = ((named(job_id), json_value(data)) for job_id, data in pairs)
    while some := list(islice(checked, most)):
        yield some


def named(job_id: str) -> str:
    if not isinstance(job_id, str) or not job_id:
        hint = "; 'watch_many' takes a list" if isinstance(job_id, (list, set)) else ""
        raise ValueError(f"{job_id!r} is not a job's id: expected a text that is not empty{hint}")
    return job_id


def upload(given: Any) -> None:
    """What submits; if it were no async function, that would be noticed when it is done.

    What a lambda returns is not known before.
    """
    if not callable(given):
        raise TypeError(f"upload: expected an async function of one Intent, not {given!r}")
    plain = function_of(given)
    shown = getattr(plain, "__qualname__", repr(given))
    is_def = inspect.isfunction(plain) and plain.__name__ != "<lambda>"
    if is_def and not inspect.iscoroutinefunction(plain):
        raise TypeError(f"{shown} is a sync function: submit with 'async def'")
    try:
        inspect.signature(given).bind("an intent")
    except TypeError as error:
        raise TypeError(f"{shown} can't be called with one Intent: {error}") from None
    except ValueError:
        pass  # it was not written in Python


def function_of(given: Any) -> Any:
    """The function that is called in the end: behind a partial, a method, a decorator, an object."""
    while isinstance(given, partial):
        given = given.func
    if not inspect.isroutine(given) and not inspect.iscoroutinefunction(given):
        given = type(given).__call__
    # an async wrapper of a sync function, say one that puts it into a thread, is what is called
    return inspect.unwrap(getattr(given, "__func__", given), stop=inspect.iscoroutinefunction)


def name(given: str | None) -> dict[str, str]:
    if given is not None and (not isinstance(given, str) or not given):
        raise ValueError(f"name={given!r}: expected a text that is not empty")
    return {} if given is None else {NAME: given}


def json_value(data: Any) -> Any:
    """As it will come back; what would come back as something else is refused."""
    if data is None:
        return None
    try:
        stored = msgspec.json.decode(msgspec.json.encode(data))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"data={data!r} is not a JSON value: {error}") from None
    if stored != data:  # a set, a tuple, a date, a number as a key, NaN
        raise ValueError(
            f"data={data!r} is not a JSON value: it would come back as {stored!r}.  Give texts, "
            "finite numbers, booleans, None, lists, and dicts whose keys are texts"
        )
    return stored


def features(
    source: Source, expect: int | None, settle: float | timedelta | None
) -> dict[str, Any]:
    """What the source of these jobs is to know about each of them."""
    if expect is not None and (isinstance(expect, bool) or expect < 1):
        raise ValueError(f"expect={expect!r}: how many there will be, at least 1")
    span = None if settle is None else seconds(settle)
    if span is not None and not 0.0 <= span < INFINITE:
        raise ValueError(f"settle={settle!r}: expected seconds, 0 or more")
    given = {k: v for k, v in {"expect": expect, "settle": span}.items() if v is not None}
    for name, value in given.items():
        if name not in getattr(source, "watch_options", ()):
            raise ValueError(f"{name}={value!r}: jobs of kind {source.kind!r} have no children")
    return given


def predictors(features: Mapping[str, Any]) -> dict[str, Any]:
    """What the watcher of these jobs says about how long they take."""
    for name, value in features.items():
        if name == KIND:
            if not isinstance(value, str) or not value:
                raise ValueError(f"features: {name}={value!r}: expected a text that is not empty")
        elif name not in PREDICTORS:
            known = ", ".join((*PREDICTORS, KIND))
            raise ValueError(f"features: {name}={value!r}: expected one of {known}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not (
            0 < value < INFINITE
        ):  # fmt: skip
            raise ValueError(f"features: {name}={value!r}: expected a number above 0")
    return dict(features)


def instant(name: str, given: float | None) -> float | None:
    """Stored as it is: what can't be reckoned with would stop every poller that reads it."""
    if given is None:
        return None
    if not isinstance(given, (int, float)) or not -INFINITE < given < INFINITE:
        raise ValueError(f"{name}={given!r}: expected seconds since the epoch")
    return float(given)


def seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else float(span)


def until(deadline: float | timedelta | None, *, now: float) -> float | None:
    """The instant that a deadline means; with 0 the first look decides."""
    if deadline is None:
        return None
    known = seconds(deadline)
    if not 0 <= known < INFINITE:
        raise ValueError(f"deadline={deadline!r}: expected seconds, 0 or more, or None for never")
    return now + known


def state(given: State | str | None) -> State | None:
    try:
        return None if given is None else State(given)
    except ValueError:
        raise ValueError(f"state={given!r}: expected one of {', '.join(State)}") from None


def span(name: str, given: float | timedelta) -> float:
    known = seconds(given)
    if not 0 <= known < INFINITE:
        raise ValueError(f"{name}={given!r}: expected seconds, 0 or more")
    return known
