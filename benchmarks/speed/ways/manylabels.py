"""The embedded base's decisions under any number of labels, on a Llama whose positions hold their descriptions.

A mention that the base gave label k gets label k modulo the number there is; the other labels are distractors. All the
work is the model's own: the prompt with every description, the drafter's scores for every label, the passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nerx.engine.label import Label, LabelSet
from nerx.engine.tagging.batching import buckets
from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.drafter import Drafter, Evidence
from nerx.engine.tagging.guide import write
from nerx.engine.tagging.prompt import SourceTokens
from nerx.engine.tagging.proposal import Proposal

from .llama import make_llama
from .replay import Outcome, Recorder, Replay

POSITIONS = 8192
BATCH_TOKENS = 8192
"""What the extractor takes on a CPU."""

KINDS = ("harbour", "vessel", "cargo", "company", "person", "carrier", "office", "country", "product", "contract")
TRAITS = ("old", "leased", "northern", "private", "coastal", "frozen", "minor", "named", "disputed", "seasonal",
          "joint", "foreign", "listed", "public", "former", "heavy", "inland", "bonded", "empty", "spare")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """Sources in batches, and the decoder that has so many labels."""

    decoder: Decoder
    sources: tuple[SourceTokens, ...]
    groups: tuple[tuple[SourceTokens, ...], ...]

    def run(self) -> None:
        for group in self.groups:
            self.decoder.decode(group)


def labelled(base: Decoder, sources: Sequence[SourceTokens], count: int) -> Labelled:
    """Records what `base` decides and sets up a Llama of its shape to do the same under `count` labels."""
    recorder = Recorder(base, base.drafter, base.draft_tokens)
    decoded = [recorder.decode([source])[0] for source in sources]
    model = make_llama(
        "base",
        base.model.tokenizer,
        base.model.device,
        next(base.model.network.parameters()).dtype,
        positions=POSITIONS,
    )
    head = model.encoder.encode_head(many_labels(count))
    script = Relabelled(count)
    for source, one in zip(sources, decoded, strict=True):
        spans = [span._replace(label=span.label % count) for span, _ in one.spans]
        evidence = recorder.recording.evidence_for(source)
        assert evidence is not None
        script.add(source, write(source.ids, spans, head.trie, model.tags), evidence)
    decoder = Replay(model, head, Drafter(model.width).eval(), script)
    groups = buckets([2 * len(source) + len(head.ids) for source in sources], BATCH_TOKENS)
    return Labelled(decoder, tuple(sources), tuple(tuple(sources[i] for i in group) for group in groups))


def many_labels(count: int) -> LabelSet:
    """Two-word names with a line of definition each."""
    names = [f"{trait} {kind}" for trait in TRAITS for kind in KINDS][:count]
    described = (Label(name, f"any {name} that the text calls by its own name, not in general") for name in names)
    return LabelSet(tuple(described))


class Relabelled:
    """A script (see replay.py) of right outputs. Behind a wrong token, where no right one is known, drafts stand."""

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._answers: dict[int, Sequence[int]] = {}
        self._evidence: dict[int, Evidence] = {}

    def add(self, source: SourceTokens, answer: Sequence[int], evidence: Evidence) -> None:
        folded = np.zeros((evidence.begin.shape[1], self._labels))
        folded[np.arange(len(folded)), np.arange(len(folded)) % self._labels] = 1.0
        self._answers[id(source)] = answer
        self._evidence[id(source)] = replace(
            evidence, begin=evidence.begin @ folded, inside_sum=evidence.inside_sum @ folded
        )

    def outcome(self, proposal: Proposal) -> Outcome:
        answer = self._answers[id(proposal.source)]
        chosen: list[int] = []
        is_right = True
        for choice in proposal.choices:
            drafted = choice.drafted or 0
            right = choice.allowed.index(answer[proposal.read + choice.after]) if is_right else drafted
            is_right = is_right and right == choice.drafted
            chosen.append(right)
        return chosen, [0.0] * len(chosen)

    def evidence_for(self, source: SourceTokens) -> Evidence | None:
        return self._evidence[id(source)]
