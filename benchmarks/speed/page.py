"""The results as JSON, which keeps what other runs put there, and as a page to read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYS = (
    "limit", "nerx_exact", "nerx_fast", "nerx_copy", "step_by_step", "generate", "prompt_lookup", "generate_batch",
    "llama_limit", "nerx_llama", "ctranslate2_f32", "nerx_llama_int8", "ctranslate2_int8", "nerx_bf16", "nerx_int8",
)  # fmt: skip
"""Contenders in the order of the table. Each run's record holds `<key>_s` for all of them, null where not run."""


def merged(path: Path, key: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What `path` holds, with `record` in place of what it held under `key`."""
    held: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return {
        "benchmark": "decoding",
        **{k: v for k, v in held.items() if k.startswith(("cpu", "gpu"))},
        key: dict(record),
    }


def write(path: Path, records: Mapping[str, Any]) -> None:
    """`path` and the page of the same name beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1) + "\n")
    runs = [page(key, record) for key, record in records.items() if key != "benchmark"]
    path.with_suffix(".md").write_text("\n".join(["# Decoding speed\n", ABOUT, *runs]))


ABOUT = """Written by `benchmarks/speed/decoding.py`. Every contender does the same work in the same run: it writes the
same tagged outputs for the same texts, in batches of the same texts, with the same number of threads. A batch goes
through all contenders before the next one; a time is the best of the repeats for each batch, summed. *CPU s* counts all
threads of the process and is the fairer column where other jobs shared the machine. *x limit* is the multiple of
`limit`, one teacher-forced pass over text and answer; for the random Llama, of that pass through it.
"""


def page(key: str, record: Mapping[str, Any]) -> str:
    return f"## {key}\n\n{summary(record)}\n\n{table(record)}\n{notes(record)}"


def summary(record: Mapping[str, Any]) -> str:
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{record['model']} on {record['device']}, {record['threads']} threads, batch {record['batch']}, best of "
        f"{record['repeats']}; {record['texts']} texts of {', '.join(record['sets'])} with {record['source_tokens']:,} "
        f"tokens, {record['answer_tokens']:,} tokens of answers. {record['date']}, {machine['system']}, "
        f"Python {machine['python']}, {versions}."
    )


def table(record: Mapping[str, Any]) -> str:
    head = "| contender | s | x limit | CPU s | x limit | texts/s | tokens/s | texts timed |\n|---|" + "---:|" * 7
    return "\n".join([head, *(_line(key, record) for key in KEYS if record.get(f"{key}_s") is not None)]) + "\n"


def _line(key: str, record: Mapping[str, Any]) -> str:
    cells = (
        record[f"{key}_s"],
        record["times_the_limit"][key],
        record["cpu_seconds"][key],
        record["cpu_times_the_limit"][key],
        record["texts_per_s"][key],
        record["tokens_per_s"][key],
        record["texts_timed"][key],
    )
    return f"| {key.replace('_', ' ')} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"


def notes(record: Mapping[str, Any]) -> str:
    lines = [f"- `{key.replace('_', ' ')}`: {what}." for key, what in record["contenders"].items()]
    lines += [f"- No `{key.replace('_', ' ')}`: {why}." for key, why in record["left_out"].items()]
    draft = (
        f"With the drafter {record['rounds_a_text']} rounds a text, {record['acceptance_rate']:.1%} of the drafted "
        f"decisions stood, and {record['right_at_first_try']:.1%} of the texts were drafted right as a whole; without "
        f"it {record['rounds_a_text_without_drafter']} rounds."
    )
    speed = (
        f"Floating-point operations over the matrix rate measured here ({record['matrix_tflops']:g} TFLOP/s): limit "
        f"{record['limit_matrix_share']:.1%}, exact {record['nerx_exact_matrix_share']:.1%}."
    )
    found = record["strict_f1"]
    scores = "Strict F1 on these texts: " + ", ".join(f"{name.replace('_', ' ')} {f1}" for name, f1 in found.items())
    return "\n".join([*lines, "", draft, speed, *([scores + "."] if found else []), ""])
