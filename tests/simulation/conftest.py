import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What goes wrong on purpose is in the trace."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
