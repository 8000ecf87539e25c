"""Nothing but the seed decides: not addresses in memory, not trio's own dice, not the tokens' bits.

anyio keeps tasks and cancel scopes in sets, whose order is that of addresses, and cancels them in that
order.  While a seed is played its sets keep the order in which things came.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from anyio._backends import _asyncio
from trio.testing import MockClock

from pollers import poller
from pollers._core.submit import PREFIX
from resilience.testing import run_virtual


class InOrder(dict[Any, None]):
    """A set."""

    def add(self, one: Any) -> None:
        self[one] = None

    def remove(self, one: Any) -> None:
        del self[one]

    def discard(self, one: Any) -> None:
        self.pop(one, None)


def run(main: Callable[[], Awaitable[Any]], seed: int, *, on_trio: bool) -> None:
    """In virtual time, the same each time."""
    bits = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poller, "new_token", lambda: f"{PREFIX}{bits.getrandbits(64):016x}")
        if on_trio:  # as hypothesis does it
            patch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
            trio._core._run._r.seed(seed)
            trio.run(main, clock=MockClock(autojump_threshold=0))
        else:
            patch.setattr(_asyncio, "set", InOrder, raising=False)
            run_virtual(main, seed=seed)


def nap() -> Callable[[float], None]:
    """What lets the loop's clock jump ahead, as when a laptop sleeps."""
    try:
        return asyncio.get_running_loop().advance  # type: ignore[attr-defined]
    except RuntimeError:
        return trio.lowlevel.current_clock().jump  # type: ignore[attr-defined]
