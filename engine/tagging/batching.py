"""Which texts go through the model together: like lengths, under one token budget."""

from collections.abc import Sequence


def buckets(lengths: Sequence[int], budget: int, most: int = 256) -> list[list[int]]:
    """Indices grouped so that `longest * members` stays within `budget` tokens; longest groups first.

    Longest first means that a batch too large for the memory shows at the start of a run and not in its last hour.
    A length above the budget is a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not groups or longest * (len(groups[-1]) + 1) > budget or len(groups[-1]) == most:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups
