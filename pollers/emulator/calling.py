"""How callbacks go wrong: lost, early, doubled, and forged by a stranger.

A callback is one POST of JSON, with no signature and no second try, as documented.  What happens to
the callbacks of one video or task is drawn from the seed and its name: it doesn't depend on what
else the emulator does.
"""

import random
from dataclasses import dataclass

import aiohttp

from .log import Called
from .provider import now
from .state import State

_TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True, slots=True)
class Calls:
    """What callbacks are made about one thing."""

    early: bool
    """Whether one is made when the work begins."""
    at_end: int
    forged: bool
    """Whether somebody else makes some as well."""


def calls_about(state: State, name: str) -> Calls:
    """What the settings have for a video or task of this name."""
    settings = state.settings
    times = settings.callback_times
    early = times > 0 and _drawn(state, name, "early", settings.callback_early)
    doubled = times > early and _drawn(state, name, "doubled", settings.callback_doubled)
    return Calls(
        early, times - early + doubled, _drawn(state, name, "forged", settings.callback_forged)
    )


def _drawn(state: State, name: str, what: str, share: float) -> bool:
    return random.Random(f"{state.settings.seed} {what} {name}").random() < share  # noqa: S311


async def post_callback(state: State, target: str, payload: dict[str, str]) -> None:
    """POST a callback once, or lose it by chance; either goes into the log."""
    if state.chance.random() < state.settings.callback_loss:
        url = _without_query(target)
        state.called.append(Called(time=now(), url=url, payload=payload, lost=True))
        return
    await _post(state, target, payload)


async def forge_callback(state: State, target: str, payload: dict[str, str]) -> None:
    """What a stranger posts; none of it is true."""
    await _post(state, target, payload, forged=True)


async def _post(
    state: State, target: str, payload: dict[str, str], *, forged: bool = False
) -> None:
    at, url, answer = now(), _without_query(target), None
    try:
        async with state.engine.client.post(target, json=payload, timeout=_TIMEOUT) as response:
            answer = response.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        pass  # one try and no more: that is the API's promise
    state.called.append(Called(time=at, url=url, payload=payload, status=answer, forged=forged))


def _without_query(url: str) -> str:
    return url.partition("?")[0]
