"""Secrets in retry logs: stamina's structlog hook logs ``repr(args)`` and ``kwargs`` at WARNING.

Facts, section 2.2.  Headers, bodies and messages: ``driver/test_driver_records.py``; a real request:
``adapters/test_aiohttp_bodies.py``.
"""

import logging

import pytest
from driver_kit import DOWN, LOST, make_guard

from resilience import ResilienceError
from resilience.testing import Script

SECRET = "sk-mavi-0123456789"


@pytest.mark.parametrize("step", [DOWN, LOST, ConnectionResetError(SECRET)])
@pytest.mark.parametrize("name", ["read", "write"])
def test_arguments_are_not_logged(run, caplog, step, name):
    """Neither positional nor named arguments reach a log line, at any level."""
    caplog.set_level(logging.DEBUG)

    async def main():
        with pytest.raises(ResilienceError):
            await make_guard().call(Script([step], name=name), SECRET, api_key=SECRET)

    run(main)
    assert caplog.records
    assert SECRET not in caplog.text
    assert all(SECRET not in repr(vars(record)) for record in caplog.records)
