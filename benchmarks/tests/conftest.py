"""The benchmark programs import `lab` and `rivals` from their own folder; so do their tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
