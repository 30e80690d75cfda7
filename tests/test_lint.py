"""Weak seeds are named, sound ones are not."""

from nerx.adapters.lint import lint
from nerx.engine.span import Seed, Span


def test_lint_names_each_weakness_once_and_says_where():
    def seed(line, text, *spans):
        return Seed(text, tuple(Span(start, end, label) for start, end, label in spans), f"s.jsonl:{line}")

    advice = lint(
        [
            seed(1, "Lima and Norway", (0, 4, "place"), (10, 14, "Place")),
            seed(2, "Lima Lima", (0, 4, "person")),
            seed(3, "in Lima, Limas"),
        ]
    )
    assert advice[:3] == tuple(
        f"label {label!r} has 1 mention; with fewer than 5 expect misses: annotate more"
        for label in ("Place", "person", "place")
    )
    assert "label 'Place' stands in one text only (s.jsonl:1), so nothing can check it: annotate more" in advice
    assert "labels 'Place', 'place' differ in writing only; use one if they mean the same" in advice
    assert (
        "'Lima' is 'person' (s.jsonl:2), 'place' (s.jsonl:1); fine if the context decides, else make them agree"
        in advice
    )
    assert "s.jsonl:1: 'orwa' is cut out of 'Norway'; write 9:15 if the whole is meant" in advice
    assert len([line for line in advice if "bare at s.jsonl:2, :3;" in line]) == 1


def test_lint_is_silent_on_sound_seeds():
    seeds = [Seed(f"Ana met {name} in 東京都", (Span(8, 8 + len(name), "name"),), f"s:{name}") for name in "ABCDE"]
    assert lint(seeds) == ()
