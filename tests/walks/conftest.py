"""New users' walks: what they do first, the obvious wrong ways included, and what they are told."""

import sys
from pathlib import Path

for room in ("clients", "../examples"):
    path = str(Path(__file__).parent.parent / room)
    if path not in sys.path:
        sys.path.append(path)  # the MemOS SDK's kit, and the examples
