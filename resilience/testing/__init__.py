"""For tests of code that uses the library: virtual time, scripted outcomes, fixed chance."""

from resilience.testing.script import FixedChance, Script
from resilience.testing.virtual import EPOCH, VirtualLoop, run_virtual, wall

__all__ = ("EPOCH", "FixedChance", "Script", "VirtualLoop", "run_virtual", "wall")
