"""Splits seeds into train and dev, so that both sides have every label in proportion.

Iterative stratification: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011,
algorithm 1. A text counts once for each label in it. nerx has its own code for this because the packages that offer it
need scikit-learn, and because they lack one rule: no label may leave the training side.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random

from ..engine.span import Seed

MIN_SEEDS = 10
"""With fewer seeds `split` holds nothing out: a score on one or two texts is noise, and training needs each text."""


def split(seeds: Sequence[Seed], share: float, seed: int) -> tuple[list[Seed], list[Seed]]:
    """Train and dev seeds, both in their old order. Dev holds about `share` of the texts, a fraction from 0 to below 1.

    Every label keeps at least one text in train, so dev may lack a label that occurs in a single text. With fewer than
    MIN_SEEDS seeds, or `share` 0, dev is empty. The same `seed` gives the same split on any machine.
    Raises ValueError for another share.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share {share}: a fraction from 0 to below 1 is needed")
    if len(seeds) < MIN_SEEDS or share == 0:
        return list(seeds), []
    part_of = _stratify(seeds, [1 - share, share], Random(seed))
    kept = _kept_for_training(seeds, part_of, held_out=[1])
    in_dev = [part == 1 and index not in kept for index, part in enumerate(part_of)]
    return _divide(seeds, in_dev)


def _stratify(seeds: Sequence[Seed], shares: Sequence[float], random: Random) -> list[int]:
    """The part of each seed, index for index, so that part `p` gets about `shares[p]` of the texts of every label.

    The label with the fewest texts left goes first, since it is the hardest to spread. Each of its texts goes to the
    part that lacks the label most. Of equal parts it goes to the one that lacks texts most, and then chance decides.
    """
    labels_of = [_labels(seed) for seed in seeds]
    texts_with = Counter(label for labels in labels_of for label in labels)
    lacking_texts = [share * len(seeds) for share in shares]
    lacking_label = {label: [share * count for share in shares] for label, count in texts_with.items()}
    part_of = [-1] * len(seeds)
    waiting = list(range(len(seeds)))
    random.shuffle(waiting)
    while waiting:
        left = Counter(label for index in waiting for label in labels_of[index])
        rarest = min(left, key=lambda label: (left[label], label), default=None)
        chosen = [index for index in waiting if rarest is None or rarest in labels_of[index]]
        for index in chosen:
            wish = lacking_label[rarest] if rarest is not None else lacking_texts
            part = max(range(len(shares)), key=lambda p: (wish[p], lacking_texts[p], random.random()))
            part_of[index] = part
            lacking_texts[part] -= 1
            for label in labels_of[index]:
                lacking_label[label][part] -= 1
        waiting = [index for index in waiting if part_of[index] < 0]
    return part_of


def _kept_for_training(seeds: Sequence[Seed], part_of: Sequence[int], held_out: Sequence[int]) -> set[int]:
    """Indices that must stay in train: one text of each label whose texts all lie in one held-out part.

    The text with the most such labels is taken first, so that few are kept.
    """
    parts_with: dict[str, set[int]] = {}
    for seed, part in zip(seeds, part_of, strict=True):
        for label in _labels(seed):
            parts_with.setdefault(label, set()).add(part)
    orphans = {label for label, parts in parts_with.items() if len(parts) == 1 and parts <= set(held_out)}
    kept: set[int] = set()
    while orphans:
        index = max(range(len(seeds)), key=lambda index: len(orphans & _labels(seeds[index])))
        kept.add(index)
        orphans -= _labels(seeds[index])
    return kept


def _labels(seed: Seed) -> set[str]:
    return {span.label for span in seed.spans}


def _divide(seeds: Sequence[Seed], held_out: Sequence[bool]) -> tuple[list[Seed], list[Seed]]:
    train = [seed for seed, out in zip(seeds, held_out, strict=True) if not out]
    return train, [seed for seed, out in zip(seeds, held_out, strict=True) if out]
