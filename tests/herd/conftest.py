import sys
from pathlib import Path

HERD = Path(__file__).parent
if str(HERD) not in sys.path:
    sys.path.append(str(HERD))
