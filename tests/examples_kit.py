"""How tests load an example: as a module of its own each time, next to its neighbours."""

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    """A fresh module of an example; its guard has met nobody."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def as_the_real_api(emulator, monkeypatch, *, key):
    """An emulator in a thread of its own that the examples take for the provider of ``key``."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(emulator),
    ):
        monkeypatch.setenv("MEMORIES_API_KEY", key)
        monkeypatch.setenv("MEMORIES_BASE_URL", emulator.base_url)
        yield
