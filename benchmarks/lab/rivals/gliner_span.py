"""GLiNER, the usual span model of the PyPI package `gliner`, on MiniLM's encoder; tag stage first, then the seeds.

Labels are read as text, so nothing is thrown away between the two stages. In the tag stage it is asked for the labels
that the base would be asked for, absent ones among them; with the seeds for all labels of the task. Its input counts
labels and text. Sizes and losses are the package's own defaults (markerV0 spans of up to 12 words, an LSTM, dropout
0.4), but for the hidden size, which is the encoder's.

The package wants transformers below 5.17 and works with the version tested here, so it is installed without its
requirements: pip install --no-deps gliner
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerx.adapters.priming.sets import AnnotatedSet
from nerx.engine.span import Seed, Span

from ..dataset import Task
from ..machine import package_version
from .contender import MissingRivalError, Predict, Prediction
from .minilm import PACKAGE, encoder_folder, quiet
from .tag_stage import TagStage, TagStageSettings

if TYPE_CHECKING:
    import torch

MOST_WORDS = 200
"""Words that are read at once: with the labels they fit into the encoder's 512 positions."""

TOKENS = 2_850_000
"""Length of the tag stage: 48,640 rows in 95 minutes of one core. The embedded base read 80,640."""


@dataclass(frozen=True, slots=True)
class GLiNERSettings:
    """The stage with the seeds. `head_rate` is the rate of all but the encoder; `batch` in texts."""

    rate: float = 1e-4
    head_rate: float = 5e-4
    steps: int = 200
    batch: int = 4
    warmup: float = 0.1
    weight_decay: float = 0.01
    threshold: float = 0.5


class GLiNERSpan:
    """The row `gliner`. `data`: folder of the annotated sets. `tokens`: length of the tag stage, 0 for TOKENS."""

    rows = ("gliner",)
    seeded = True

    def __init__(self, data: Path, tokens: int = 0, settings: GLiNERSettings | None = None) -> None:
        stage = TagStageSettings(tokens or TOKENS, head_rate=5e-4)
        self._stage = TagStage("gliner", SpanStudent.enrolled, stage, data)
        self._settings = settings or GLiNERSettings()

    def settings(self, row: str) -> Mapping[str, object]:
        versions = {package: package_version(package) for package in ("gliner", "torch", "transformers", PACKAGE)}
        for package, version in versions.items():
            if not version:
                raise MissingRivalError(row, package, "pip install --no-deps gliner" if package == "gliner" else "")
        return {**versions, **asdict(self._settings), "tag_stage": dict(self._stage.key)}

    @property
    def stage_tokens(self) -> int:
        """Length of the tag stage, in tokens of this rival's input."""
        return self._stage.tokens

    @property
    def folder(self) -> Path:
        """Where the tag stage's work and outcome lie."""
        return self._stage.folder

    def prepare(self) -> None:
        self._stage.outcome()

    def fit(self, task: Task) -> "FittedGLiNER":
        import torch
        from gliner import GLiNER

        quiet()
        torch.manual_seed(task.draw)
        rng = random.Random(task.draw)
        student = SpanStudent(GLiNER.from_pretrained(str(self._stage.outcome()), load_tokenizer=True))
        lessons = [lesson for seed in task.seeds for lesson in student.lessons(seed.text, seed.spans, task.labels)]
        _train(student, lessons, self._settings, rng)
        return FittedGLiNER(student, task.labels, self._settings.threshold)


class FittedGLiNER:
    def __init__(self, student: "SpanStudent", labels: tuple[str, ...], threshold: float) -> None:
        self._student, self._labels, self._threshold = student, labels, threshold

    def predictor(self, row: str) -> Predict:  # noqa: ARG002 (there is but one)
        return self._predict

    def _predict(self, texts: Sequence[str], *, batch: int = 16) -> Prediction:
        """Texts in pieces of at most MOST_WORDS words, read in batches of like length."""
        pieces = [(index, start, text[start:end]) for index, text in enumerate(texts)
                  for start, end in self._student.pieces(text)]  # fmt: skip
        pieces.sort(key=lambda piece: len(piece[2]))
        network = self._student.network.eval()
        found = network.inference(
            [text for _, _, text in pieces], list(self._labels), threshold=self._threshold, batch_size=batch
        )
        spans: list[list[Span]] = [[] for _ in texts]
        for (index, start, _), entities in zip(pieces, found, strict=True):
            spans[index] += [Span(start + one["start"], start + one["end"], one["label"]) for one in entities]
        return [tuple(sorted(mine)) for mine in spans]

    def notes(self) -> Mapping[str, object]:
        return {}


@dataclass(frozen=True, slots=True)
class Lesson:
    """Words, mentions as (first word, last word, label), the labels that are asked for, and tokens of all that."""

    words: list[str]
    mentions: list[tuple[int, int, str]]
    labels: list[str]
    tokens: int

    def __len__(self) -> int:
        return self.tokens

    def to_dict(self) -> dict[str, object]:
        """As the package's collator reads it."""
        return {"tokenized_text": self.words, "ner": self.mentions, "ner_labels": self.labels}


class SpanStudent:
    """A GLiNER network, new or loaded."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self._collator = network.data_collator_class(network.config, data_processor=network.data_processor)
        self._tokenizer = network.data_processor.transformer_tokenizer

    @classmethod
    def enrolled(cls, sets: Sequence[AnnotatedSet]) -> "SpanStudent":  # noqa: ARG003 (labels are read as text)
        from gliner import GLiNER, GLiNERConfig
        from transformers import AutoConfig

        quiet()
        folder = encoder_folder()
        config = GLiNERConfig(model_name=str(folder), hidden_size=AutoConfig.from_pretrained(folder).hidden_size)
        return cls(GLiNER.from_config(config))

    def is_fresh(self, weight: str) -> bool:
        return "token_rep_layer" not in weight

    def example(self, dataset: AnnotatedSet, row: Seed, rng: random.Random) -> Lesson:
        from nerx.adapters.dataset import choose_labels
        from nerx.adapters.priming.sampler import MOST_LABELS

        labels, spans = choose_labels(dataset.labels, row.spans, rng, most=MOST_LABELS)
        return self.lessons(row.text, spans, labels.names)[0]

    def lessons(self, text: str, spans: Sequence[Span], labels: Sequence[str]) -> list[Lesson]:
        """A lesson for each piece of `text`. A mention takes in every word that it touches, if one piece holds it."""
        asked = self._count([token for label in labels for token in ("<<ENT>>", *label.split())])
        lessons = []
        for low, high in self.pieces(text):
            words = self._words(text[low:high])
            inside = [span for span in spans if low <= span.start and span.end <= high]
            mentions = [_mention(words, span, low) for span in inside]
            plain = [word for word, _, _ in words]
            tokens = asked + self._count(plain)
            lessons.append(Lesson(plain, [one for one in mentions if one], list(labels), tokens))
        return lessons

    def pieces(self, text: str) -> list[tuple[int, int]]:
        """Half-open ranges of characters that hold at most MOST_WORDS words each."""
        words = self._words(text)
        starts = [words[at][1] for at in range(MOST_WORDS, len(words), MOST_WORDS)]
        return list(zip([0, *starts], [*starts, len(text)], strict=True))

    def loss(self, examples: Sequence[Lesson]) -> "torch.Tensor":
        """The package's loss, divided by the number of texts so that the clipping of gradients means the same."""
        batch = self._collator([lesson.to_dict() for lesson in examples])
        loss: torch.Tensor = self.network(**batch, reduction="sum").loss / len(examples)
        return loss

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder)

    def _words(self, text: str) -> list[tuple[str, int, int]]:
        return list(self.network.data_processor.words_splitter(text))

    def _count(self, words: Sequence[str]) -> int:
        return len(self._tokenizer(list(words), is_split_into_words=True)["input_ids"]) if words else 0


def _mention(words: Sequence[tuple[str, int, int]], span: Span, low: int) -> tuple[int, int, str] | None:
    """First and last word, both inclusive, that `span` touches; `words` count their characters from `low`."""
    touched = [at for at, (_, start, end) in enumerate(words) if start + low < span.end and end + low > span.start]
    return (touched[0], touched[-1], span.label) if touched else None


def _train(student: SpanStudent, lessons: Sequence[Lesson], settings: GLiNERSettings, rng: random.Random) -> None:
    import torch
    from transformers import get_linear_schedule_with_warmup

    named = list(student.network.named_parameters())
    body = [weight for name, weight in named if not student.is_fresh(name)]
    rest = [weight for name, weight in named if student.is_fresh(name)]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": settings.rate}, {"params": rest, "lr": settings.head_rate}],
        weight_decay=settings.weight_decay,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, round(settings.warmup * settings.steps), settings.steps)
    student.network.train()
    for _ in range(settings.steps):
        batch = rng.sample(list(lessons), min(settings.batch, len(lessons)))
        student.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(student.network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
