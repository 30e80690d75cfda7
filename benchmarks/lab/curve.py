"""Memory over a run: samples thinned out without losing a peak, and their plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Curve = list[tuple[float, float]]
"""(seconds, MiB), in order of time."""
POINTS = 400


def thinned(samples: Sequence[tuple[float, float]], points: int = POINTS) -> Curve:
    """The most of each of at most `points` stretches of equal length, at the time at which it was reached."""
    stretch = -(-len(samples) // points) or 1
    pieces = (samples[first : first + stretch] for first in range(0, len(samples), stretch))
    return [max(piece, key=lambda sample: sample[1]) for piece in pieces]


def plot(curves: Mapping[str, Curve], path: Path) -> None:
    """A line a curve, over the share of its run, from 0 MiB up. The format is that of the file name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        end = curve[-1][0] or 1
        axes.plot([100 * at / end for at, _ in curve], [mib for _, mib in curve], label=name, linewidth=1)
    axes.set(xlabel="share of the run, %", ylabel="resident memory, MiB", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})
