"""`prime`: a language model and annotated sets in, a primed base folder out. The function reads as a list of verbs.

What is not finished lies in a folder beside `--out`: run again with the same options, it goes on from its last
checkpoint and ends with the same weights.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.bases.digest import combined, file_digest
from ...engine.bases.find import BaseEvent
from ...engine.errors import InputError
from .config import PrimeConfig
from .folder import check_free, longest, write_base
from .glossary import Glossary
from .heldout import HeldOut
from .history import History, Stage, in_words
from .learner import Learner, Point
from .pupil import Pupil
from .sampler import Limits, Sampler
from .sets import Found, find_sets, read_set, set_folders
from .work import Work, alone, work_folder


@dataclass(frozen=True, slots=True)
class PrimeEvent:
    """Progress. `stage` is read, load, fetch, convert, wait, resume, begin, prime or save.

    From `begin` on, a run that is stopped leaves a checkpoint of what it has done. In the stage `prime`, `done` of
    `total` are tokens, `point` holds the losses, and `rate` is tokens a second. While a base is fetched, `done` of
    `total` are megabytes.
    """

    stage: str
    done: int = 0
    total: int = 0
    point: Point | None = None
    rate: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PrimeResult:
    """What a run came to. `finished` is False where it was stopped: `work` then holds its checkpoint.

    `rate` is tokens a second over all runs.
    """

    base: Path
    work: Path
    finished: bool
    point: Point
    sets: tuple[Found, ...]

    @property
    def rate(self) -> float:
        return self.point.tokens / self.point.seconds if self.point.seconds else 0.0


Progress = Callable[[PrimeEvent], None]


def prime(config: PrimeConfig, progress: Progress | None = None, stop: Callable[[], bool] | None = None) -> PrimeResult:
    """Train a base on annotated sets and write its folder, or go on with a run that was stopped.

    `stop` is asked after every step. When it says True, the checkpoint is written, and the result is not finished.
    Raises SeedError with every bad line, AdapterError when the base cannot be used, OutputError when `out` is in the
    way, and OutputLockedError when another run makes it.
    """
    tell = progress or _ignore
    check_free(config.out)
    tell(PrimeEvent("read"))
    glossary = Glossary.read(config.labels) if config.labels else Glossary()
    sets = _read_sets(config, tell)
    with alone(work_folder(config.out)):
        tell(PrimeEvent("load", note=config.base))
        pupil = Pupil(config, lambda event: tell(_on_its_way(event)))
        limits = Limits(longest(pupil), config.share, anywhere=True)
        sampler = Sampler([one.content for one in sets], glossary, pupil.model.encoder, limits, config.set_weights)
        learner = Learner(pupil, sampler, config)
        work = Work(work_folder(config.out), _told(config, pupil, sets))
        finished = _train(learner, work, config, tell, stop or _never)
        if finished:
            tell(PrimeEvent("save", note=str(config.out)))
            write_base(pupil, config, _history(config, pupil, learner.point, sets), sets, work.curve())
            shutil.rmtree(work.folder)
    return PrimeResult(config.out, work.folder, finished, learner.point, tuple(sets))


def _read_sets(config: PrimeConfig, tell: Progress) -> list[Found]:
    held_out = HeldOut.read(set_folders(config.held_out))
    sources = find_sets(config.data)
    if unknown := sorted(config.set_weights.keys() - {source.name for source in sources}):
        known = ", ".join(source.name for source in sources)
        raise InputError(f"--weight {unknown[0]}: there is no such set; the sets are {known}")
    found = []
    for number, source in enumerate(sources):
        tell(PrimeEvent("read", number, len(sources), note=source.name))
        found.append(read_set(source, held_out.touches))
    return found


def _train(learner: Learner, work: Work, config: PrimeConfig, tell: Progress, stop: Callable[[], bool]) -> bool:
    """Learn until all tokens are seen; returns False where `stop` ended it before. Writes the checkpoint either way."""
    if (saved := work.load()) is not None:
        learner.restore(saved)
        tell(PrimeEvent("resume", learner.point.tokens, config.tokens))
    tell(PrimeEvent("begin", learner.point.tokens, config.tokens))
    start, began = learner.point, time.monotonic()
    written = began
    with work.log(start.tokens) as log:
        while learner.point.tokens < config.tokens:
            if stopped := stop():
                break
            learner.step()
            log.add(learner.point)
            now = time.monotonic()
            rate = (learner.point.tokens - start.tokens) / (now - began)
            tell(PrimeEvent("prime", learner.point.tokens, config.tokens, learner.point, rate))
            if now - written >= config.every:
                log.flush()
                work.save(learner.state())
                written = now
        else:
            stopped = False
        log.flush()
        work.save(learner.state())
    return not stopped


def _told(config: PrimeConfig, pupil: Pupil, sets: Sequence[Found]) -> dict[str, str]:
    """All that decides on the weights but the number of tokens, which a run may be given more of."""
    options = {name: str(getattr(config, name)) for name in ("all_weights", "layers", "batch", "share", "seed")}
    factors = {name: float(factor) for name, factor in sorted(config.set_weights.items())}
    return {
        **options,
        "base": pupil.model.digest[:12],
        "rank": str(config.lora_rank),
        "rate": str(config.learning_rate),
        "labels": file_digest(config.labels)[:12] if config.labels else "",
        "weights": str(factors),
        "sets": ", ".join(f"{one.source.name} ({len(one.content.rows)} texts)" for one in sets),
        "files": combined(*(one.digest for one in sets))[:12],
    }


def _history(config: PrimeConfig, pupil: Pupil, point: Point, sets: Sequence[Found]) -> History:
    device = in_words(str(pupil.model.device), bf16=pupil.half)
    sources = tuple(one.source.name for one in sets)
    done = Stage("tag", point.tokens, point.rows, point.step, round(point.seconds), config.seed, device, sources)
    before = History.of(pupil.place)
    return (before if before.stages else History(Path(config.base).name, ())).then(done)


def _on_its_way(event: BaseEvent) -> PrimeEvent:
    return PrimeEvent(event.stage, event.done // 1_000_000, event.total // 1_000_000, note=event.base)


def _never() -> bool:
    """Nobody asks the run to stop."""
    return False


def _ignore(_event: PrimeEvent) -> None:
    """Drop the event: no caller asked for progress."""
