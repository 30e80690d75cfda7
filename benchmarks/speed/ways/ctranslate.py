"""CTranslate2 on a Llama of the embedded base's shape, which it converts by its own converter.

It takes the base for an encoder (its converter reads BERT as one: "cannot be used as a sequence generator"). It has no
hook to force tokens, so each batch generates the mean length of its answers: as many tokens as the answers have, and no
row waits for a longer one. The prompt's head is given as its cached static prompt.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerx.engine.tagging.decoder import Decoder

from ..work import Batch


class CTranslate:
    """`precision` is one of CTranslate2's compute types; `checkpoint` a transformers folder."""

    whole = False

    def __init__(
        self,
        name: str,
        precision: str,
        checkpoint: Path,
        folder: Path,
        decoders: Sequence[Decoder],
        *,
        threads: int,
        device: str = "cpu",
        every: int = 1,
    ) -> None:
        import ctranslate2

        self.name, self.every = name, every
        self.what = f"CTranslate2 in {precision}, on a random Llama of the base's shape"
        self._heads = [[*decoder.head.ids] for decoder in decoders]
        self._mark = decoders[0].model.tags.output_mark
        self._vocabulary = _vocabulary(decoders[0].model.tokenizer)
        converted = convert(checkpoint, folder / name, precision)
        self._generator: Any = ctranslate2.Generator(
            str(converted), device=device, compute_type=precision, intra_threads=threads, inter_threads=1
        )

    def run(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            steps = round(sum(map(len, batch.answers)) / len(batch.answers))
            results = self._generator.generate_batch(
                [self._words([*source.ids, *self._mark]) for source in batch.sources],
                static_prompt=self._words(self._heads[batch.part]),
                include_prompt_in_result=False,
                min_length=steps,
                max_length=steps,
                beam_size=1,
                end_token=[0],
            )
            written = [len(result.sequences_ids[0]) for result in results]
            if written != [steps] * len(written):
                raise RuntimeError(f"{self.name} wrote {written} tokens, {steps} were asked for")

    def _words(self, ids: Sequence[int]) -> list[str]:
        return [self._vocabulary[i] for i in ids]


def convert(checkpoint: Path, folder: Path, precision: str) -> Path:
    """A CTranslate2 model folder of a transformers checkpoint."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(checkpoint)).convert(str(folder), quantization=precision, force=True)
    # The converter writes null for the special tokens that the tokenizer lacks, which its own loader refuses.
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **{key: config.get(key) or "[UNK]" for key in ("bos_token", "eos_token")}}))
    return folder


def _vocabulary(tokenizer: Any) -> list[str]:
    words: list[str] = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return words
