"""Emulators of the providers, faults included: aiohttp.web servers for tests and demonstrations.

Imports neither `resilience` nor the rest of `pollers`.  PyAV is used if it is installed.
"""

from .faults import Fault
from .log import Called, Seen
from .memos import MemosEmulator, MemosFile, MemosSettings, MemosTask
from .scrapes import Scrape
from .server import MemoriesEmulator, serve
from .settings import Settings
from .videos import Video

__all__ = (
    "Called",
    "Fault",
    "MemoriesEmulator",
    "MemosEmulator",
    "MemosFile",
    "MemosSettings",
    "MemosTask",
    "Scrape",
    "Seen",
    "Settings",
    "Video",
    "serve",
)
