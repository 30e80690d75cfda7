"""Builds seeds.jsonl, gold.jsonl and corpus.parquet from source/*.txt, and checks them.

A source file is a run of blocks, each headed by `=== channel`. Seeds and gold carry inline marks
`[[mention|label]]`; a bracket form whose last part is no label is plain text. The corpus is gold's texts
plus the unannotated ones, in a fixed shuffled order, plus rows whose text is null or empty.

    python examples/freight/build.py
"""

import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
LABELS = {
    "vessel": "name of a ship, barge, tug or ferry, without MV or the word ship",
    "place": "named port, town, country, river, canal or sea",
    "company": "named business: carrier, agent, shipper, receiver, insurer, terminal",
    "person": "name of a person, without title",
    "cargo": "goods that are carried, without amount or packaging",
    "reference": "code of one shipment: container, booking, bill of lading, seal, voyage, file, claim",
}
MARK = re.compile(rf"\[\[([^\[\]|]+)\|({'|'.join(LABELS)})\]\]")
TAG_WORDS = {
    "reefer": ("reefer", "frozen", "temp", "degrees", "°c"),
    "claim": ("claim", "damage", "liable", "insur", "survey"),
    "customs": ("customs", "seal", "hold", "release", "certificate"),
    "delay": ("delay", "late", "eta", "waiting", "cancel"),
}
DESKS = ["ANR", "GDN", "GOA", "HAM", "RTM", "SIN"]
EMPTY_TEXTS = [None, "", None, "   ", None, "", "\n"]
SCHEMA = pa.schema([
    ("id", pa.string()),
    ("created", pa.timestamp("ms", tz="UTC")),
    ("channel", pa.dictionary(pa.int8(), pa.string())),
    ("site_code", pa.dictionary(pa.int8(), pa.string())),
    ("priority", pa.int8()),
    ("text", pa.string()),
    ("tags", pa.list_(pa.string())),
    ("charge_eur", pa.decimal128(10, 2)),
])  # fmt: skip


class Message(NamedTuple):
    """A text of one channel with its entities: half-open code-point offsets."""

    channel: str
    text: str | None
    entities: list[dict[str, int | str]]


def read_blocks(path: Path, annotated: bool) -> list[Message]:
    """The messages of a source file, in order."""
    blocks = re.split(r"^=== (\w+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    pairs = zip(blocks[::2], blocks[1::2], strict=True)
    return [Message(channel, *(parse(body.strip()) if annotated else (body.strip(), []))) for channel, body in pairs]


def parse(marked: str) -> tuple[str, list[dict[str, int | str]]]:
    """The text without marks, and its entities."""
    text, entities, last = "", [], 0
    for mark in MARK.finditer(marked):
        text += marked[last : mark.start()]
        start = len(text)
        text += mark[1]
        entities.append({"start": start, "end": len(text), "label": mark[2]})
        last = mark.end()
    return text + marked[last:], entities


def check(seeds: list[Message], gold: list[Message], plain: list[Message]) -> None:
    """Raises AssertionError, with the text at fault, where the data break a promise of the README."""
    for message in seeds + gold:
        end = 0
        for entity in message.entities:
            mention = message.text[entity["start"] : entity["end"]]
            assert end <= entity["start"] < entity["end"] <= len(message.text), message.text
            assert mention == mention.strip(" ,;:\"'"), f"{mention!r} has loose ends in: {message.text}"
            assert not re.match(r"(the|a|an|MV|M/V|MS|Mr|Mrs|Ms|Dr|Capt)\b\.?", mention), f"{mention!r}: {message.text}"
            end = entity["end"]
        assert not re.search(rf"\|({'|'.join(LABELS)})\]\]", message.text), f"mark left in: {message.text}"
    twice = [text for text, n in Counter(message.text for message in seeds + gold + plain).items() if n > 1]
    assert not twice, f"texts that occur twice: {twice}"
    empty_share = sum(not message.entities for message in seeds) / len(seeds)
    assert 0.10 <= empty_share <= 0.15, empty_share
    sizes = len(seeds), len(gold), len(gold) + len(plain)
    assert all(map(int.__ge__, sizes, (70, 100, 320))), sizes


def corpus_rows(messages: list[Message]) -> list[dict]:
    """Corpus rows in time order; the columns beside the text are drawn with a fixed seed."""
    draw = random.Random(2024)
    messages = draw.sample(messages, len(messages))
    created, rows = datetime(2024, 1, 2, 6, 0, tzinfo=UTC), []
    for number, message in enumerate(messages, start=1):
        created += timedelta(minutes=draw.randint(20, 2300), milliseconds=draw.randint(0, 59_999))
        low = (message.text or "").lower()
        rows.append({
            "id": f"MSG-{number:05d}",
            "created": created,
            "channel": message.channel,
            "site_code": draw.choice(DESKS),
            "priority": draw.choice([1, 2, 2, 3, 3, 3, None]),
            "text": message.text,
            "tags": [tag for tag, words in TAG_WORDS.items() if any(word in low for word in words)],
            "charge_eur": Decimal(draw.randint(1_000, 900_000)) / 100 if draw.random() < 0.3 else None,
        })  # fmt: skip
    return rows


def write_jsonl(path: Path, head: list[dict], messages: list[Message]) -> None:
    lines = head + [{"text": message.text, "entities": message.entities} for message in messages]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def mentions(messages: list[Message]) -> list[tuple[str, str]]:
    """(label, mention in lower case) of every entity."""
    return [(e["label"], m.text[e["start"] : e["end"]].lower()) for m in messages for e in m.entities]


def main() -> None:
    seeds, gold = (read_blocks(HERE / "source" / name, True) for name in ("seeds.txt", "gold.txt"))
    plain = [m for name in ("corpus.txt", "corpus_long.txt") for m in read_blocks(HERE / "source" / name, False)]
    check(seeds, gold, plain)
    nothing = [Message("note", text, []) for text in EMPTY_TEXTS]
    rows = corpus_rows(gold + plain + nothing)
    write_jsonl(HERE / "seeds.jsonl", [{"label": k, "description": v} for k, v in LABELS.items()], seeds)
    write_jsonl(HERE / "gold.jsonl", [], gold)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), HERE / "corpus.parquet", row_group_size=128)
    seen = set(mentions(seeds))
    print(f"{'label':<10} {'seeds':>6} {'gold':>6}  unseen in seeds")
    for label in LABELS:
        in_gold = [pair for pair in mentions(gold) if pair[0] == label]
        unseen = sum(pair not in seen for pair in in_gold) / len(in_gold)
        print(f"{label:<10} {sum(k == label for k, _ in mentions(seeds)):>6} {len(in_gold):>6}  {unseen:.0%}")
    words = [len(row["text"].split()) for row in rows if row["text"]]
    print(f"seeds {len(seeds)}, gold {len(gold)}, corpus {len(rows)} rows, {sum(words)} words, longest {max(words)}")


if __name__ == "__main__":
    main()
