"""Finds what is weak in readable seeds, and gives one line of advice for each finding. Never stops a run."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ..engine.span import Seed

FEW_MENTIONS = 5
"""A label with fewer mentions gets a warning. Published results start at five shots."""

_Places = defaultdict[str, list[str]]


def lint(seeds: Sequence[Seed]) -> tuple[str, ...]:
    """Advice on labels with few mentions, labels in one text only, labels that differ in writing only, mentions with
    several labels, mentions left bare elsewhere, and borders inside words. Grouped: one line a label or mention."""
    checks = (few_mentions, single_text, same_label_written_twice, conflicting_labels, left_bare, inside_words)
    return tuple(advice for check in checks for advice in check(seeds))


def few_mentions(seeds: Sequence[Seed]) -> Iterator[str]:
    """Labels with too few mentions to learn from."""
    counts = Counter(span.label for seed in seeds for span in seed.spans)
    for label, count in sorted(counts.items()):
        if count < FEW_MENTIONS:
            mentions = "1 mention" if count == 1 else f"{count} mentions"
            yield f"label {label!r} has {mentions}; with fewer than {FEW_MENTIONS} expect misses: annotate more"


def single_text(seeds: Sequence[Seed]) -> Iterator[str]:
    """Labels whose mentions are all in one text, so that none can be held out to check what was learned."""
    texts_with: _Places = defaultdict(list)
    for seed in seeds:
        for label in {span.label for span in seed.spans}:
            texts_with[label].append(seed.where)
    for label, places in sorted(texts_with.items()):
        if len(places) == 1:
            yield f"label {label!r} stands in one text only ({_listed(places)}), so nothing can check it: annotate more"


def same_label_written_twice(seeds: Sequence[Seed]) -> Iterator[str]:
    """Labels that differ only in capitals, spaces or punctuation."""
    writings: _Places = defaultdict(list)
    for label in sorted({span.label for seed in seeds for span in seed.spans}):
        if plain := re.sub(r"[\W_]+", "", label.casefold()):
            writings[plain].append(label)
    for labels in writings.values():
        if len(labels) > 1:
            yield f"labels {', '.join(map(repr, labels))} differ in writing only; use one if they mean the same"


def conflicting_labels(seeds: Sequence[Seed]) -> Iterator[str]:
    """The same words under several labels. This is right when the context decides, and a mistake otherwise."""
    for mention, places_of in _mentions(seeds).items():
        if len(places_of) > 1:
            seen = ", ".join(f"{label!r} ({_listed(places)})" for label, places in sorted(places_of.items()))
            yield f"{mention!r} is {seen}; fine if the context decides, else make them agree"


def left_bare(seeds: Sequence[Seed]) -> Iterator[str]:
    """Words that are annotated in one place and bare in another. A bare mention teaches the model "no entity"."""
    known = _mentions(seeds)
    by_first_word: defaultdict[str, list[str]] = defaultdict(list)
    for mention in known:
        if len(mention) > 1 and (first := re.match(r"\w+", mention)):
            by_first_word[first.group()].append(mention)
    bare: _Places = defaultdict(list)
    for seed in seeds:
        for word in re.finditer(r"\w+", seed.text):
            for mention in by_first_word.get(word.group(), ()):
                if _stands_bare(seed, mention, word.start()) and seed.where not in bare[mention]:
                    bare[mention].append(seed.where)
    for mention, places in bare.items():
        if places:
            labels = ", ".join(f"{label!r} ({_listed(where)})" for label, where in sorted(known[mention].items()))
            yield f"{mention!r} is {labels}, but bare at {_listed(places)}; annotate it there too if it means the same"


def inside_words(seeds: Sequence[Seed]) -> Iterator[str]:
    """Mentions that begin or end inside a word, in scripts with spaces between words. Most are mistakes."""
    for seed in seeds:
        for span in seed.spans:
            start, end = span.start, span.end
            while joins_letters(seed.text, start):
                start -= 1
            while joins_letters(seed.text, end):
                end += 1
            if (start, end) != (span.start, span.end):
                mention, word = seed.text[span.start : span.end], seed.text[start:end]
                yield f"{seed.where}: {mention!r} is cut out of {word!r}; write {start}:{end} if the whole is meant"


def _mentions(seeds: Sequence[Seed]) -> dict[str, _Places]:
    """mention -> label -> where it is annotated so, in the order of the seeds."""
    known: defaultdict[str, _Places] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        for span in seed.spans:
            places = known[seed.text[span.start : span.end]][span.label]
            if seed.where not in places:
                places.append(seed.where)
    return known


def _stands_bare(seed: Seed, mention: str, start: int) -> bool:
    """Whether `mention` is at `start` as whole words and touches no annotation."""
    end = start + len(mention)
    whole = seed.text.startswith(mention, start) and not re.match(r"\w", seed.text[end : end + 1])
    return whole and not any(span.start < end and start < span.end for span in seed.spans)


def joins_letters(text: str, at: int) -> bool:
    """Whether letters of a script below Hebrew (Latin, Greek, Cyrillic) stand on both sides of the border at `at`."""
    pair = text[max(at - 1, 0) : at + 1]
    return len(pair) == 2 and all(char.isalpha() and char < "\u0590" for char in pair)


def _listed(places: Sequence[str]) -> str:
    """The first three places, with their file named once, and the number of others: `seeds.jsonl:3, :9 and 2 more`."""
    file = places[0].rpartition(":")[0]
    later = [place.removeprefix(file) if file else place for place in places[1:3]]
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join([places[0], *later]) + more
