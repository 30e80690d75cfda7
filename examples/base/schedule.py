"""The learning rate over a stage."""

DECAY = 0.25
"""Share of the tokens over which the learning rate comes down."""

WARM_UP = 100
"""Steps."""


def share_of_rate(done: float, step: int) -> float:
    """Linear warm-up, a plateau, and over the last quarter linear decay to 3 %; `done` is the share of tokens seen.

    A run on the plateau can be given more tokens and goes on as if it had had them from the beginning (Hu et al. 2024,
    "MiniCPM").
    """
    return min(1.0, (step + 1) / WARM_UP) * min(1.0, max(0.03, (1.0 - done) / DECAY))
