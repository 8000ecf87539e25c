"""For tests of code that uses the library: virtual time, scripts, servers that limit, chance."""

from resilience.testing.limits import (
    Capacity,
    FixedWindow,
    InFlight,
    Limited,
    SlidingWindow,
    TokenBucket,
)
from resilience.testing.script import FixedChance, Script
from resilience.testing.virtual import EPOCH, VirtualLoop, run_virtual, wall

__all__ = (
    "EPOCH",
    "Capacity",
    "FixedChance",
    "FixedWindow",
    "InFlight",
    "Limited",
    "Script",
    "SlidingWindow",
    "TokenBucket",
    "VirtualLoop",
    "run_virtual",
    "wall",
)
