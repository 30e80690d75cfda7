"""Where things lie in the clone: results, the freight example, the base's recipe, the tests."""

from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
RESULTS = BENCHMARKS / "results"
CACHE = BENCHMARKS / ".cache"
"""What takes long to make and is kept outside git."""

FREIGHT = BENCHMARKS.parent / "examples" / "freight"
RECIPE = BENCHMARKS.parent / "examples" / "base"
TESTS = BENCHMARKS.parent / "tests"
