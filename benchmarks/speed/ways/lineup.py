"""Who takes part in a run, with what each one needs: the embedded base's contenders, and those of a random Llama."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from nerx.engine.review.metrics import Counts
from nerx.engine.tagging.decoder import Decoded, Decoder
from nerx.engine.tagging.drafter import Drafter
from nerx.engine.tagging.loading import Precision, quantise
from nerx.engine.tagging.model import LanguageModel

from ..work import Batch, load_extractors, strict_counts
from .contender import Contender, Exact, Fast, Limit, StepByStep
from .ctranslate import CTranslate
from .library import Generate, GenerateBatch, PromptLookup
from .llama import make_llama, matrix_weights, save_llama
from .replay import Known, Recorder, Recording, Replay, Script


@dataclass(frozen=True, slots=True)
class Lineup:
    """Contenders with the work they do. facts: rounds, acceptance, F1, for the record.

    operations: multiply-adds times two of the limit and of exact decoding over all the work.
    left_out: contender -> why it is not there.
    """

    contenders: tuple[Contender, ...]
    batches: tuple[Batch, ...]
    device: torch.device
    dtype: torch.dtype
    facts: Mapping[str, Any]
    operations: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def only(self, names: Sequence[str]) -> "Lineup":
        return replace(self, contenders=tuple(one for one in self.contenders if one.name in names))

    def limit_of(self, name: str) -> str:
        """Which limit a contender is a multiple of: that of its own model."""
        on_llama = "llama" in name or "ctranslate" in name
        return "llama_limit" if on_llama and any(one.name == "llama_limit" for one in self.contenders) else "limit"


@dataclass(frozen=True, slots=True)
class Decided:
    """What the embedded base came to: batches with their answers, recordings with and without the drafter."""

    batches: tuple[Batch, ...]
    drafted: Recording
    copied: Recording
    facts: Mapping[str, Any]
    f1: Mapping[str, float]
    tokens: int

    @property
    def known(self) -> Known:
        pairs = [pair for batch in self.batches for pair in zip(batch.sources, batch.answers, strict=True)]
        return Known({id(source): answer for source, answer in pairs})


def decide(decoders: Sequence[Decoder], batches: Sequence[Batch], draft_tokens: int) -> Decided:
    """Runs exact decoding once over all the work, with the drafter and without it, and writes everything down."""
    with_drafter = [Recorder(decoder, decoder.drafter, draft_tokens) for decoder in decoders]
    without = [Recorder(decoder, None, draft_tokens) for decoder in decoders]
    started = sum(one.tokens for one in with_drafter)
    answered: list[Batch] = []
    counts = {"exact": Counts(), "fast": Counts()}
    rounds = copy_rounds = right = texts = 0
    for batch in batches:
        exact = with_drafter[batch.part].decode(batch.sources)
        copied = without[batch.part].decode(batch.sources)
        fast = decoders[batch.part].draft(batch.sources)
        counts["exact"] += strict_counts(batch, exact)
        counts["fast"] += strict_counts(batch, fast)
        answered.append(batch.with_answers(exact))
        texts += len(exact)
        rounds += sum(one.rounds for one in exact)
        copy_rounds += sum(one.rounds for one in copied)
        right += sum(_spans(a) == _spans(b) for a, b in zip(exact, fast, strict=True))
    drafted = _joined(one.recording for one in with_drafter)
    facts = {
        "rounds_a_text": round(rounds / texts, 3),
        "rounds_a_text_without_drafter": round(copy_rounds / texts, 3),
        "acceptance_rate": round(drafted.acceptance, 4),
        "right_at_first_try": round(right / texts, 4),
    }
    tokens = sum(one.tokens for one in with_drafter) - started
    f1 = {name: 100 * count.f1 for name, count in counts.items()}
    return Decided(tuple(answered), drafted, _joined(one.recording for one in without), facts, f1, tokens)


def embedded_lineup(
    decoders: Sequence[Decoder],
    adapters: Sequence[Path],
    batches: Sequence[Batch],
    folder: Path,
    threads: int,
    every: int,
) -> Lineup:
    """The base that ships, on whatever device; on a CPU also in other precisions, and the Llama beside CTranslate2."""
    decided = decide(decoders, batches, decoders[0].draft_tokens)
    model = decoders[0].model
    plain = [Decoder(one.model, one.head, None, temperature=one.temperature) for one in decoders]
    contenders: list[Contender] = [
        Limit(decoders),
        Exact("nerx_exact", "nerx, exact mode", decoders),
        Fast("nerx_fast", "nerx, fast mode: the drafter's word alone, nothing is generated", decoders),
        Exact("nerx_copy", "nerx without its drafter: plain copies are drafted, the model decides alone", plain),
        StepByStep("step_by_step", "nerx, one token a round, forced ones too", decoders, every=every),
        Generate(decoders, every=every),
        PromptLookup(decoders, every=every),
    ]
    f1 = dict(decided.f1)
    left_out = {"generate_batch": "the library's continuous batching has no attention for this model class"}
    if model.device.type == "cpu":
        for precision in ("bf16", "int8"):
            name: Precision = "bfloat16" if precision == "bf16" else "int8"
            others = [one.decoder for one in load_extractors(adapters, "cpu", name)]
            contender = Exact(f"nerx_{precision}", f"nerx, exact mode, weights in {name}", others)
            contenders.append(contender)
            f1[precision] = strict_f1(contender, decided.batches)
        llamas, left_out["ctranslate2"] = ctranslate_contenders(decided, decoders, folder, threads)
        contenders += llamas
    return Lineup(
        tuple(contenders),
        decided.batches,
        model.device,
        next(model.network.parameters()).dtype,
        {**decided.facts, "strict_f1": {name: round(value, 2) for name, value in f1.items()}},
        operations(model, decided),
        {name: why for name, why in left_out.items() if why},
    )


def llama_lineup(shape: str, decoders: Sequence[Decoder], batches: Sequence[Batch], every: int) -> Lineup:
    """A random Llama in the precision that its device prefers, with the embedded base's evidence and decisions."""
    decided = decide(decoders, batches, decoders[0].draft_tokens)
    dtype = next(decoders[0].model.network.parameters()).dtype
    model = make_llama(shape, decoders[0].model.tokenizer, decoders[0].model.device, dtype)
    drafter = random_drafter(model)
    exact = replays(model, decoders, drafter, decided.drafted)
    steps = replays(model, decoders, drafter, decided.known)
    contenders: list[Contender] = [
        Limit(exact),
        Exact("nerx_exact", "nerx, exact mode", exact),
        Fast("nerx_fast", "nerx, fast mode: the drafter's word alone, nothing is generated", exact),
        Exact("nerx_copy", "nerx without its drafter", replays(model, decoders, None, decided.copied)),
        StepByStep("step_by_step", "nerx, one token a round, forced ones too", steps, every=every),
        Generate(exact, every=every),
        PromptLookup(exact, every=every),
        GenerateBatch(exact),
    ]
    facts = {**decided.facts, "strict_f1": {}}
    return Lineup(tuple(contenders), decided.batches, model.device, dtype, facts, operations(model, decided))


def ctranslate_contenders(
    decided: Decided, decoders: Sequence[Decoder], folder: Path, threads: int
) -> tuple[list[Contender], str]:
    """CTranslate2 and nerx on one and the same Llama, in two precisions; and, where there are none, why."""
    if find_spec("ctranslate2") is None:
        return [], "the package is not installed (pip install -c constraints.txt ctranslate2)"
    tokenizer = decoders[0].model.tokenizer
    model = make_llama("base", tokenizer, torch.device("cpu"), torch.float32)
    small = make_llama("base", tokenizer, torch.device("cpu"), torch.float32)
    drafter, small_drafter = random_drafter(model), random_drafter(small)
    quantise(small.network.base_model)
    quantise(small_drafter)
    exact = replays(model, decoders, drafter, decided.drafted)
    checkpoint = save_llama(model, folder / "llama")
    return [
        Limit(exact, "llama_limit", "the limit through a random Llama of the base's shape"),
        Exact("nerx_llama", "nerx, exact mode, on that Llama, decisions and evidence those of the base", exact),
        CTranslate("ctranslate2_f32", "float32", checkpoint, folder, decoders, threads=threads),
        Exact(
            "nerx_llama_int8",
            "the same with weights in int8",
            replays(small, decoders, small_drafter, decided.drafted),
        ),
        CTranslate("ctranslate2_int8", "int8", checkpoint, folder, decoders, threads=threads),
    ], ""


def replays(model: LanguageModel, decoders: Sequence[Decoder], drafter: Drafter | None, script: Script) -> list[Replay]:
    """One decoder a part on `model`, under that part's labels, with drafts as long as the real ones."""
    made = []
    for decoder in decoders:
        replay = Replay(model, decoder.head, drafter, script)
        replay.draft_tokens = decoder.draft_tokens
        made.append(replay)
    return made


def random_drafter(model: LanguageModel) -> Drafter:
    weight = next(model.network.parameters())
    return Drafter(model.width).to(weight.device, dtype=weight.dtype).eval()


def operations(model: LanguageModel, decided: Decided) -> dict[str, float]:
    """Of the layers' matrices, without attention, output head and drafter."""
    weights, mark = matrix_weights(model), len(model.tags.output_mark)
    read = sum(
        len(source) + mark + len(answer) - 1
        for batch in decided.batches
        for source, answer in zip(batch.sources, batch.answers, strict=True)
    )
    return {"limit": 2.0 * weights * read, "nerx_exact": 2.0 * weights * decided.tokens}


def strict_f1(contender: Exact, batches: Sequence[Batch]) -> float:
    """Micro, over all sets, in percent."""
    return 100 * sum((strict_counts(batch, contender.decode(batch)) for batch in batches), Counts()).f1


def _spans(decoded: Decoded) -> list[Any]:
    return [span for span, _ in decoded.spans]


def _joined(recordings: Iterable[Recording]) -> Recording:
    whole = Recording()
    for one in recordings:
        whole.outcomes.update(one.outcomes)
        whole.evidence.update(one.evidence)
        whole.drafted += one.drafted
        whole.stood += one.stood
    return whole
