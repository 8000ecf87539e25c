"""Where the state of jobs is asked for.  A source knows one provider's wire format, nothing else.

It asks through a guard, makes sightings of the answers, and schedules, stores and decides nothing.
"""

from pollers.sources.base import Source, StatusWords
from pollers.sources.callable import CallableSource
from pollers.sources.memories_ai import MemoriesVideos
from pollers.sources.memories_scrapes import MemoriesScrapes
from pollers.sources.memos_cloud import MemosFiles, MemosTasks

__all__ = (
    "CallableSource",
    "MemoriesScrapes",
    "MemoriesVideos",
    "MemosFiles",
    "MemosTasks",
    "Source",
    "StatusWords",
)
