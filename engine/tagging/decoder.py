"""Batched copy-or-tag decoding with a key-value cache: the prompt pass, then rounds of draft, verify, accept.

A round feeds the undecided draft of every row at once and settles all its decisions. The first decision that differs
from the draft is repaired, and the row is drafted anew from there. The slots of rejected tokens stay in the cache,
masked by `order` -1, until they outnumber the others. The result is the same as that of step-by-step decoding,
`decode(..., drafts=False)`, with the same evidence: greedy over the legal tokens.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from .batching import pad
from .drafter import Drafter, Evidence
from .guide import TokenSpan
from .model import LanguageModel, Tokens
from .prompt import LOWER, Head, SourceTokens
from .proposal import Choice, Proposal
from .slots import Slots, closed

DRAFT_TOKENS = {"cpu": 24}
"""How many tokens are drafted, and so read, at once, where a token costs more than a round. Other devices draft whole
outputs.

Time as a multiple of one teacher-forced pass, CPU, batch 16, with 16 / 24 / 32 tokens / the whole output: science texts
with 17 labels 1.61 / 1.60 / 1.66 / 2.13, news 1.29 / 1.28 / 1.42 / 1.49, filings 1.24 / 1.22 / 1.23 / 1.50, the freight
example 1.39 / 1.44 / 1.46 / 1.78. Stopping where the drafter is unsure instead was no better than the whole output.
"""


_SLOTS_A_TOKEN = 3
"""Cache slots that a batch starts with for every token of its longest text: for prompt, answer and rejected drafts."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tagged output of one source: token ids, mentions with their scores, and rounds after the prompt pass.

    `drafted` counts the tokens that were fed as drafts, `accepted` those of them that were kept.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[TokenSpan, float], ...]
    rounds: int
    drafted: int = 0
    accepted: int = 0


class Decoder:
    """Decodes sources under one prompt head, whose cache is computed once.

    `alpha` weighs the drafter's evidence in the decisions; with 0 or without a drafter the model decides alone.
    `temperature` divides the fused logits before scores are taken and changes no decision.
    `tokens` counts what the model has read, padding left out.
    """

    def __init__(
        self,
        model: LanguageModel,
        head: Head,
        drafter: Drafter | None = None,
        *,
        alpha: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        self.model, self.head, self.drafter = model, head, drafter
        self.alpha, self.temperature = alpha, temperature
        self.draft_tokens = DRAFT_TOKENS.get(model.device.type, sys.maxsize)
        self.tokens = len(head.ids)
        with torch.inference_mode():
            self._head_cache = DynamicCache()
            states = model.states(self._tokens([list(head.ids)], [range(len(head.ids))], [0]), self._head_cache)
            self._label_states = states[:, list(head.label_ends)]

    @torch.inference_mode()
    def decode(self, sources: Sequence[SourceTokens], *, drafts: bool = True) -> list[Decoded]:
        """Tag a batch of non-empty sources."""
        slots, frontier, evidence = self._read_prompts(sources)
        proposals = [
            Proposal(source, self.head.trie, self.model.tags, one, most=self.draft_tokens if drafts else None)
            for source, one in zip(sources, evidence, strict=True)
        ]
        active = list(range(len(proposals)))
        while active:
            self._round([proposals[row] for row in active], frontier, slots)
            going = [place for place, row in enumerate(active) if not proposals[row].is_finished]
            if going and len(going) < len(active):
                going = closed(going)
                slots.keep(going)
                frontier = frontier[going]
            active = [active[place] for place in going]
        return [Decoded(tuple(p.answer), tuple(p.spans()), p.rounds, p.drafted, p.accepted) for p in proposals]

    @torch.inference_mode()
    def draft(self, sources: Sequence[SourceTokens]) -> list[Decoded]:
        """Ask the drafter alone: one pass over the prompts and no generation. The scores are the drafter's."""
        _, _, evidence = self._read_prompts(sources)
        drafted = []
        for source, one in zip(sources, evidence, strict=True):
            if one is None:
                raise ValueError("this decoder has no drafter")
            spans = tuple((span, one.score(span)) for span in one.draft(source.borders))
            drafted.append(Decoded((), spans, 0))
        return drafted

    @torch.inference_mode()
    def read(self, sources: Sequence[SourceTokens], answers: Sequence[Decoded]) -> Tensor:
        """States (batch, longest, width) of sources and answers, read in one pass.

        No decoder can take less time than this pass, so benchmarks give times as a multiple of it.
        """
        head, mark = len(self.head.ids), self.model.tags.output_mark
        rows = [[*s.ids, *mark, *answer.ids[:-1]] for s, answer in zip(sources, answers, strict=True)]
        slots = Slots(self._head_cache, len(rows), max(map(len, rows)))
        places = [range(head, head + len(row)) for row in rows]
        cases = [[*s.cases, *[LOWER] * (len(row) - len(s))] for s, row in zip(sources, rows, strict=True)]
        return self._read(slots, rows, places, cases)

    def _read_prompts(self, sources: Sequence[SourceTokens]) -> tuple[Slots, Tensor, list[Evidence | None]]:
        """The prompt pass: the cache, each row's last state (batch, width), each row's evidence."""
        head, mark = len(self.head.ids), self.model.tags.output_mark
        rows = [[*source.ids, *mark] for source in sources]
        slots = Slots(self._head_cache, len(rows), room=_SLOTS_A_TOKEN * max(map(len, rows)))
        places = [
            [*range(head, head + len(source)), *self.model.encoder.positions(head, len(source), ())]
            for source in sources
        ]
        states = self._read(slots, rows, places, [[*source.cases, *[LOWER] * len(mark)] for source in sources])
        lengths = torch.tensor([len(source) for source in sources], device=self.model.device)
        ends = lengths + len(mark) - 1
        frontier = states[torch.arange(len(rows), device=self.model.device), ends]
        if self.drafter is None:
            return slots, frontier, [None] * len(sources)
        text = states[:, : int(lengths.max()) + 1].clone()
        text[torch.arange(len(rows), device=self.model.device), lengths] = frontier
        labels = self._label_states.expand(len(rows), -1, -1)
        known = torch.ones(labels.shape[:2], dtype=torch.bool, device=self.model.device)
        scores = self.drafter(text, lengths, labels, known).float().cpu().numpy()
        return slots, frontier, [Evidence.of(row[: len(source)]) for row, source in zip(scores, sources, strict=True)]

    def _round(self, proposals: Sequence[Proposal], frontier: Tensor, slots: Slots) -> None:
        """Feed the drafts, settle all decisions in one transfer, and mask the tokens that are rejected."""
        head, mark = len(self.head.ids), len(self.model.tags.output_mark)
        feeds = [proposal.feed for proposal in proposals]
        states = frontier[:, None]
        if any(feeds):
            places, cases = [], []
            for proposal, feed in zip(proposals, feeds, strict=True):
                span = slice(proposal.read, proposal.read + len(feed))
                positions = self.model.encoder.positions(head, len(proposal.source), proposal.copied[: span.stop])
                places.append(positions[mark + span.start :])
                cases.append(proposal.cases(span.start, span.stop))
            states = torch.cat([states, self._read(slots, feeds, places, cases)], dim=1)
        outcomes = self._settle(states, [proposal.choices for proposal in proposals])
        standing = [
            proposal.settle(chosen, scores) for proposal, (chosen, scores) in zip(proposals, outcomes, strict=True)
        ]
        if any(feeds):
            slots.reject(standing, [len(feed) for feed in feeds])

    def _read(
        self, slots: Slots, rows: Sequence[list[int]], places: Sequence[Sequence[int]], cases: Sequence[list[int]]
    ) -> Tensor:
        tokens = self._tokens(rows, places, slots.lengths, cases)
        slots.extend(tokens.order, list(map(len, rows)))
        self.tokens += sum(map(len, rows))
        return self.model.states(tokens, slots.cache, slots.order)

    def _tokens(
        self,
        rows: Sequence[list[int]],
        places: Sequence[Sequence[int]],
        begin: Sequence[int],
        cases: Sequence[list[int]] | None = None,
    ) -> Tokens:
        """Pad to a batch; row i's order counts on from `begin[i]`."""
        order = [list(range(first, first + len(row))) for first, row in zip(begin, rows, strict=True)]
        last = self.model.max_positions - 1
        clamped = [[min(place, last) for place in row] for row in places]
        kinds = cases or [[LOWER] * len(row) for row in rows]
        device = self.model.device
        return Tokens(
            ids=pad(rows, 0, device),
            positions=pad(clamped, 0, device),
            cases=pad(kinds, 0, device),
            order=pad(order, -1, device),
        )

    def _settle(self, states: Tensor, choices: Sequence[Sequence[Choice]]) -> list[tuple[list[int], list[float]]]:
        """For every row the chosen index and its log-probability at each of its choices, by fused logits.

        states: (batch, 1 + fed, width), the frontier first.
        """
        flat = [(row, choice) for row, of_row in enumerate(choices) for choice in of_row]
        pairs = [i for i, (_, choice) in enumerate(flat) if len(choice.allowed) == 2]
        wider = [i for i, (_, choice) in enumerate(flat) if len(choice.allowed) > 2]
        settled = [self._decide(states, [flat[i] for i in group]) for group in (pairs, wider) if group]
        if not settled:
            return [([], [])] * len(choices)
        indices, scores = torch.cat(settled, dim=1).tolist()
        found = dict(zip([*pairs, *wider], zip(indices, scores, strict=True), strict=True))
        outcomes: list[tuple[list[int], list[float]]] = []
        done = 0
        for of_row in choices:
            mine = [found[i] for i in range(done, done + len(of_row))]
            outcomes.append(([int(index) for index, _ in mine], [score for _, score in mine]))
            done += len(of_row)
        return outcomes

    def _decide(self, states: Tensor, choices: Sequence[tuple[int, Choice]]) -> Tensor:
        """(2, n) on the device: the index and the log-probability of what is chosen at each of (row, choice)."""
        device = self.model.device
        where = torch.tensor([(row, choice.after) for row, choice in choices], device=device)
        candidates = pad([choice.allowed for _, choice in choices], -1, device)
        bias = pad([choice.bias for _, choice in choices], 0.0, device)
        logits = self.model.score(states[where[:, 0], where[:, 1]], candidates).float() + self.alpha * bias
        best, index = (logits / self.temperature).log_softmax(dim=1).max(dim=1)
        return torch.stack([index.float(), best])
