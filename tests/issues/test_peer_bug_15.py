"""asyncio.sleep on trio (httpx-retries; httpx itself runs on both).  Facts, section 2.5.

All of ``driver/`` runs on trio as well; here it is made sure that asyncio is not touched.
"""

import asyncio

import pytest
from driver_kit import BUSY, DOWN, OK, make_guard, on_trio

from resilience.testing import Script


def test_waits_on_trio_do_not_touch_asyncio(monkeypatch):
    """Back-off and doors wait with the running library's own means."""
    for name in ("sleep", "wait_for", "Event"):
        monkeypatch.setattr(asyncio, name, lambda *a, **k: pytest.fail("asyncio on trio"))

    async def main():
        script = Script([DOWN, BUSY, OK], delay=0.5, name="read")
        guard = make_guard().options(attempt_timeout=5, deadline=50)
        assert await guard.call(script) == OK
        assert script.asked_at == [0.0, 1.5, 3.0]

    on_trio(main)
