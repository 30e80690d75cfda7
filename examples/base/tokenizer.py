"""A cased byte-level BPE vocabulary learned from the open text, for a base that is trained from scratch.

    python examples/base/tokenizer.py --text ../shared/data/text --data ../shared/data/ner --out WORK/tokenizer

It holds nerx's reserved entries ("[unused1]" to "[unused7]"), which no text can produce, for markers and prompt.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from heldout import read_held_out
from prose import text_files, training_paragraphs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from nerx.adapters.priming.heldout import HeldOut

RESERVED = ("<s>", "</s>", *(f"[unused{n}]" for n in range(1, 8)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of packed text files")
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated sets, for the held-out texts")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--entries", type=int, default=16_000)
    parser.add_argument("--share", type=float, default=0.2, help="share of the paragraphs to learn from")
    options = parser.parse_args()
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.entries,
        special_tokens=list(RESERVED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(_sample(options.text, read_held_out(options.data), options.share), trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    wrapped.save_pretrained(options.out)
    print(f"{options.out}: {len(wrapped):,} entries")


def _sample(folder: Path, held_out: HeldOut, share: float) -> Iterator[str]:
    rng = random.Random(0)
    for path in text_files(folder):
        for paragraph in training_paragraphs(path, held_out):
            if paragraph and rng.random() < share:
                yield paragraph


if __name__ == "__main__":
    main()
