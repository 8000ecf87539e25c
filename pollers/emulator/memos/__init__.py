"""MemOS Cloud ("OpenMem v1"), emulated: messages, tasks, memories, chat, knowledge bases."""

from .server import MemosEmulator
from .settings import MemosSettings
from .things import MemosFile, MemosTask

__all__ = ("MemosEmulator", "MemosFile", "MemosSettings", "MemosTask")
