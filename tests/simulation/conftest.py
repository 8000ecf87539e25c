import logging
from collections.abc import Iterator

import coverage
import pytest


@pytest.fixture(autouse=True)
def unobserved() -> Iterator[None]:
    """What goes wrong on purpose is in the trace; and coverage would more than double the time."""
    measured = coverage.Coverage.current()
    logging.disable(logging.CRITICAL)
    if measured:
        measured.stop()
    yield
    if measured:
        measured.start()
    logging.disable(logging.NOTSET)
