"""transformers' own generation: `generate`, `generate` with prompt-lookup drafts, and `generate_batch`.

A processor forces the right answer token by token, which costs less than a grammar would and makes every contender
write the same output. Prompts are whole (head, text, output mark) and left-padded: the library shares no prefix.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig, LogitsProcessor, LogitsProcessorList

from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.prompt import SourceTokens

from ..work import Batch

PAD = 0
LOOKUP_TOKENS = 10
"""Tokens that prompt lookup proposes at once, the number in the library's own guide."""


class RightAnswer(LogitsProcessor):
    """Leaves only the right token. answers: (batch, steps), PAD where an answer has ended."""

    def __init__(self, answers: Tensor, prompt: int) -> None:
        self._answers, self._prompt = answers, prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = min(input_ids.shape[1] - self._prompt, self._answers.shape[1] - 1)
        return torch.full_like(scores, float("-inf")).scatter(1, self._answers[:, step : step + 1], 0.0)


class Generate:
    """`generate`, greedy, a batch at once."""

    whole = False
    name = "generate"
    what = "transformers `generate`, greedy, batched, left-padded"

    def __init__(self, decoders: Sequence[Decoder], *, every: int = 1) -> None:
        self.every = every
        self._decoders = decoders

    def run(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._check(batch, self.write(batch))

    def write(self, batch: Batch) -> list[list[int]]:
        """The answers it generates, with what pads them."""
        return self._generate(self._decoders[batch.part], batch.sources, batch.answers)

    @torch.inference_mode()
    def _generate(
        self, decoder: Decoder, sources: Sequence[SourceTokens], answers: Sequence[tuple[int, ...]], **options: Any
    ) -> list[list[int]]:
        device = decoder.model.device
        prompts = [prompt_of(decoder, source) for source in sources]
        width, steps = max(map(len, prompts)), max(map(len, answers))
        ids = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
        right = torch.tensor([[*answer, *[PAD] * (steps - len(answer))] for answer in answers], device=device)
        config = GenerationConfig(
            do_sample=False, max_new_tokens=steps, eos_token_id=PAD, pad_token_id=PAD, use_cache=True, **options
        )
        forced = LogitsProcessorList([RightAnswer(right, width)])
        written = decoder.model.network.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, logits_processor=forced
        )
        found: list[list[int]] = written[:, width:].tolist()
        return found

    def _check(self, batch: Batch, written: Sequence[list[int]]) -> None:
        for answer, ids in zip(batch.answers, written, strict=True):
            if tuple(ids[: len(answer)]) != answer:
                raise RuntimeError(f"{self.name} wrote another output than it was forced to")


class PromptLookup(Generate):
    """`generate` with drafts copied from the prompt; the library drafts for one text at a time only."""

    name = "prompt_lookup"
    what = f"transformers `generate` with prompt lookup of {LOOKUP_TOKENS} tokens, batch 1 (the library's limit)"

    def write(self, batch: Batch) -> list[list[int]]:
        decoder = self._decoders[batch.part]
        return [
            self._generate(decoder, [source], [answer], prompt_lookup_num_tokens=LOOKUP_TOKENS)[0]
            for source, answer in zip(batch.sources, batch.answers, strict=True)
        ]


class GenerateBatch:
    """Continuous batching, which schedules all texts by itself; each generates as many tokens as its answer has.

    What it writes is not forced: the scheduler mixes rows of all texts in one step, and the cost does not depend on it.
    Its cache and CUDA graphs are made by the warm-up and kept, so that they are not timed.
    """

    whole, every = True, 1
    name = "generate_batch"
    what = "transformers' continuous batching over all texts at once"

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self._decoders = decoders
        self._network = decoders[0].model.network
        on_cpu = decoders[0].model.device.type == "cpu"
        # By itself it takes nearly all free memory for its cache, in which the other contenders' models have to live.
        self._room = ContinuousBatchingConfig(**({"num_blocks": 64} if on_cpu else {"max_memory_percent": 0.5}))
        self._config = GenerationConfig(do_sample=False, max_new_tokens=1024, eos_token_id=-1, pad_token_id=PAD)

    def run(self, batches: Sequence[Batch]) -> None:
        with self._network.continuous_batching_context_manager(
            generation_config=self._config,
            continuous_batching_config=self._room,
            block=True,
            timeout=5,
            persistent_manager=True,
        ) as manager:
            waiting = {}
            for batch in batches:
                for source, answer in zip(batch.sources, batch.answers, strict=True):
                    prompt = prompt_of(self._decoders[batch.part], source)
                    waiting[manager.add_request(prompt, max_new_tokens=len(answer))] = len(answer)
            while waiting:
                result = manager.get_result(timeout=1)
                if result is None and not manager.is_running():
                    raise RuntimeError(f"generate_batch stopped with {len(waiting)} texts left")
                if result is not None and result.is_finished():
                    wanted = waiting.pop(result.request_id)
                    if len(result.generated_tokens) != wanted:
                        raise RuntimeError(f"generate_batch wrote {len(result.generated_tokens)} tokens of {wanted}")


def prompt_of(decoder: Decoder, source: SourceTokens) -> list[int]:
    return [*decoder.head.ids, *source.ids, *decoder.model.tags.output_mark]
