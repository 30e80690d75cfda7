"""The adapter card, `nerx.json`: what an adapter is, what it was made from, and digests that prove it undamaged.

Reads and writes the card and hashes files; knows nothing of tensors.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..bases.digest import base_digest, earlier_digest, file_digest
from ..errors import AdapterError
from ..label import Label, LabelSet
from ..naming import require_unicode
from .tags import TagFormat

CARD = "nerx.json"
WEIGHTS = ("adapter_config.json", "adapter_model.safetensors", "drafter.safetensors")
"""The files that decide on the output together with the card."""
REQUIRED = WEIGHTS[:2]
"""If one of these is missing, PEFT looks elsewhere: for a pickle, or on a hub."""


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """Everything about an adapter except its weights.

    alpha: weight of the drafter's evidence. temperature: divides the fused logits where scores are taken, so that
    scores are probabilities; it never changes a decision. min_score: extraction drops spans below this probability,
    unless a run sets another one. seconds, peak_bytes, flops: what training took (flops are multiply-adds times two
    over the tokens read). curve: one record for each evaluation.
    """

    labels: LabelSet
    base: str
    base_digest: str
    tag_format: dict[str, Any]
    nerx_version: str
    created: str
    rank: int = 0
    alpha: float = 1.0
    temperature: float = 1.0
    min_score: float = 0.0
    text_limit: int = 0
    seeds_digest: str = ""
    seeds: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    device: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    flops: float = 0.0
    files: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Sha-256 over everything that decides on the output: weights, labels, base, tag format, and four numbers."""
        deciding = (self.files, _plain(self.labels), self.base_digest, self.tag_format)
        numbers = (self.alpha, self.temperature, self.min_score, self.text_limit)
        return hashlib.sha256(json.dumps([*deciding, *numbers], sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "labels": _plain(self.labels), "digest": self.digest}

    def with_alpha(self, alpha: float) -> "AdapterCard":
        """The same adapter with another weight of the drafter's evidence; 0 lets the model decide alone."""
        return replace(self, alpha=alpha)

    def write(self, folder: Path) -> None:
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> "AdapterCard":
        """Read the card in an adapter folder. Raises AdapterError when there is none or it cannot be read."""
        path = Path(folder) / CARD
        require_unicode(path, AdapterError)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            known = {one.name for one in fields(cls)}
            labels = LabelSet(tuple(Label(x["name"], x.get("description", "")) for x in record["labels"]))
            card = cls(**{**{k: v for k, v in record.items() if k in known}, "labels": labels})
        except FileNotFoundError:
            raise AdapterError(
                f"no adapter at {folder} (no {CARD}): make one with `nerx fit`, or say --adapter"
            ) from None
        except NotADirectoryError:
            raise AdapterError(
                f"{folder} is a file, and an adapter is a folder: say the folder that holds it"
            ) from None
        except OSError as error:
            raise AdapterError(f"{path} cannot be read ({error.strerror}): check its rights") from error
        except (ValueError, KeyError, TypeError) as error:
            raise AdapterError(f"{path} is damaged ({error}): fit the adapter again") from error
        if record.get("digest") != card.digest:
            raise AdapterError(f"{path} was changed after `nerx fit` wrote it: fit the adapter again")
        return card

    def check_files(self, folder: str | Path) -> None:
        """Raises AdapterError naming the first file that is missing, not what `fit` wrote, or not in the folder."""
        folder = Path(folder)
        unlisted = [name for name in REQUIRED if name not in self.files]
        unlisted += [name for name in WEIGHTS if name not in self.files and (folder / name).exists()]
        if unlisted:
            raise AdapterError(f"adapter {folder}: {CARD} has no digest of {unlisted[0]}: fit it again")
        for name, expected in self.files.items():
            path = _inside(folder, name)
            if not path.is_file():
                raise AdapterError(f"adapter {folder} lacks {name}: fit it again or copy the whole folder")
            if file_digest(path) != expected:
                raise AdapterError(f"{path} is damaged (its digest is not the one in {CARD}): fit or copy it again")

    def check_tag_format(self) -> None:
        """Raises AdapterError when the adapter was trained with another version of the tag format.

        Its weights would then read and write other tokens than the decoder does, and its spans would be wrong.
        """
        TagFormat.from_dict(self.tag_format)

    def check_base(self, folder: Path) -> None:
        """Raises AdapterError when the base in `folder` is not the one that the adapter was made for.

        A digest that an earlier nerx gave to the same base is accepted.
        """
        if not self.base_digest:
            raise AdapterError(
                f"this adapter does not say which revision of base {self.base} it was made for: an earlier nerx did "
                "not note it; fit it again"
            )
        digest = base_digest(folder)
        if self.base_digest not in (digest, earlier_digest(folder)):
            raise AdapterError(
                f"this adapter was made for another base: {self.base} had digest {self.base_digest[:12]}, the one here "
                f"has {digest[:12]}; fit it again, or say --base with the folder it was made with"
            )


def _inside(folder: Path, name: str) -> Path:
    """The file `name` of an adapter. Raises AdapterError when it lies elsewhere, by its name or as a link."""
    path = folder / name
    if Path(name).name != name or not path.resolve().is_relative_to(folder.resolve()):
        raise AdapterError(f"adapter {folder}: {name!r} is not in the folder itself; copy the files there (cp -L)")
    return path


def folder_digests(folder: Path, names: Iterable[str] = WEIGHTS) -> dict[str, str]:
    """Digests of those of `names` that are in `folder`."""
    return {name: file_digest(folder / name) for name in names if (folder / name).is_file()}


def _plain(labels: LabelSet) -> list[dict[str, str]]:
    return [{"name": label.name, "description": label.description} for label in labels]
