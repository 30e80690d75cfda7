"""Real decisions on a model with random weights: what a trained decoder decided is recorded and played back.

A random Llama of any size knows nothing, so its drafts would all fall. `Replay` lets it do all its work (prompt pass,
drafter, forward passes, scores) and then takes the evidence and the decisions that the embedded base came to on the
same text with the same tokens. Drafts, rounds, rejected tokens and outputs are then those of the real run. Both classes
override steps of the decoder and add nothing to the product.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.drafter import Drafter, Evidence
from nerx.engine.tagging.model import LanguageModel
from nerx.engine.tagging.prompt import Head, SourceTokens
from nerx.engine.tagging.proposal import Choice, Proposal

Outcome = tuple[list[int], list[float]]
"""Of one row in one round: the chosen index and its log-probability, for each of its choices."""


@dataclass(slots=True)
class Recording:
    """What was decided, by source (their identity, since two texts may be equal) and round.

    drafted: decisions that the drafter proposed, stood: those of them before the first that came out differently.
    """

    outcomes: dict[int, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    evidence: dict[int, Evidence | None] = field(default_factory=dict)
    drafted: int = 0
    stood: int = 0

    @property
    def acceptance(self) -> float:
        return self.stood / self.drafted if self.drafted else 0.0

    def add(self, source: SourceTokens, choices: Sequence[Choice], outcome: Outcome) -> None:
        self.outcomes[id(source)].append(outcome)
        self.drafted += sum(choice.drafted is not None for choice in choices)
        for choice, chosen in zip(choices, outcome[0], strict=True):
            if choice.drafted != chosen:
                break
            self.stood += 1

    def outcome(self, proposal: Proposal) -> Outcome:
        return self.outcomes[id(proposal.source)][proposal.rounds]

    def evidence_for(self, source: SourceTokens) -> Evidence | None:
        return self.evidence[id(source)]


class Known:
    """The outputs alone: enough for step-by-step decoding, which never decides behind a wrong token."""

    def __init__(self, answers: dict[int, tuple[int, ...]]) -> None:
        self._answers = answers

    def outcome(self, proposal: Proposal) -> Outcome:
        answer = self._answers[id(proposal.source)]
        chosen = [choice.allowed.index(answer[proposal.read + choice.after]) for choice in proposal.choices]
        return chosen, [0.0] * len(chosen)

    def evidence_for(self, source: SourceTokens) -> Evidence | None:  # noqa: ARG002
        return None


class Script(Protocol):
    """What a `Replay` plays."""

    def outcome(self, proposal: Proposal) -> Outcome: ...

    def evidence_for(self, source: SourceTokens) -> Evidence | None: ...


class Recorder(Decoder):
    """Decodes as `decoder` does, with drafts of `draft_tokens`, and writes down what it decides."""

    def __init__(self, decoder: Decoder, drafter: Drafter | None, draft_tokens: int) -> None:
        super().__init__(decoder.model, decoder.head, drafter, alpha=decoder.alpha, temperature=decoder.temperature)
        self.draft_tokens = draft_tokens
        self.recording = Recording()
        self._proposals: Sequence[Proposal] = ()

    def _read_prompts(self, sources: Sequence[SourceTokens]) -> tuple[Any, Tensor, list[Evidence | None]]:
        slots, frontier, evidence = super()._read_prompts(sources)
        self.recording.evidence.update((id(source), one) for source, one in zip(sources, evidence, strict=True))
        return slots, frontier, evidence

    def _round(self, proposals: Sequence[Proposal], frontier: Tensor, slots: Any) -> None:
        self._proposals = proposals
        super()._round(proposals, frontier, slots)

    def _settle(self, states: Tensor, choices: Sequence[Sequence[Choice]]) -> list[Outcome]:
        outcomes = super()._settle(states, choices)
        for proposal, of_row, outcome in zip(self._proposals, choices, outcomes, strict=True):
            self.recording.add(proposal.source, of_row, outcome)
        return outcomes


class Replay(Decoder):
    """Works as any decoder does and then decides as `script` says."""

    def __init__(self, model: LanguageModel, head: Head, drafter: Drafter | None, script: Script) -> None:
        super().__init__(model, head, drafter)
        self._script = script
        self._proposals: Sequence[Proposal] = ()

    def _read_prompts(self, sources: Sequence[SourceTokens]) -> tuple[Any, Tensor, list[Evidence | None]]:
        slots, frontier, _ = super()._read_prompts(sources)
        return slots, frontier, [self._script.evidence_for(source) for source in sources]

    def _round(self, proposals: Sequence[Proposal], frontier: Tensor, slots: Any) -> None:
        self._proposals = proposals
        super()._round(proposals, frontier, slots)

    def _settle(self, states: Tensor, choices: Sequence[Sequence[Choice]]) -> list[Outcome]:
        super()._settle(states, choices)
        return [self._script.outcome(proposal) for proposal in self._proposals]
