"""The learning rate over a stage."""

import math

DECAY = 0.25
"""Share of the tokens over which the learning rate comes down."""

WARM_UP = 100
"""Steps."""


def share_of_rate(done: float, step: int, warm_up: int = WARM_UP, warm_share: float = math.inf) -> float:
    """Linear warm-up, a plateau, and over the last quarter linear decay to 3 %; `done` is the share of tokens seen.

    The warm-up takes `warm_up` steps, or the share `warm_share` of all tokens if that is shorter.
    A run on the plateau can be given more tokens and goes on as if it had had them from the beginning (Hu et al. 2024,
    "MiniCPM").
    """
    warm = max((step + 1) / warm_up, done / warm_share)
    return min(1.0, warm) * min(1.0, max(0.03, (1.0 - done) / DECAY))
