import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
for room in ("driver", "adapters"):
    if str(TESTS / room) not in sys.path:
        sys.path.append(str(TESTS / room))  # their kits are ours too

from driver_kit import run  # noqa: E402

__all__ = ("run",)
