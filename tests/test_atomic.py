"""Nothing gets its name before the disk holds it: content is synced, then renamed, then the folder is synced."""

import os
from pathlib import Path

import pytest
from commands import Nerx

from nerx.engine.bases.cache import put
from nerx.engine.writing.atomic import AtomicFile

Event = tuple[str, Path]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What the system is asked to sync and to rename, in order."""
    events: list[Event] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def record_sync(descriptor: int) -> None:
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def record_rename(source: str, target: str) -> None:
        events.append(("from", Path(source).absolute()))
        events.append(("to", Path(target).absolute()))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    monkeypatch.setattr(os, "replace", lambda source, target: (record_rename(source, target), replace)[0])
    return events


def test_a_file_is_synced_renamed_and_its_folder_synced(disk: list[Event], tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert disk == [("sync", temporary), ("from", temporary), ("to", tmp_path / "a"), ("sync", tmp_path)]


def test_a_base_is_synced_before_it_has_its_name(disk: list[Event], tmp_path: Path) -> None:
    def make(fresh: Path) -> None:
        (fresh / "weights").write_text("w")

    put(tmp_path / "base", make, need=0, wait=lambda: None)
    fresh = tmp_path / ".base.new"
    named = disk.index(("from", fresh))
    assert {("sync", fresh / "weights"), ("sync", fresh)} <= set(disk[:named])


def on_disk(events: list[Event]) -> set[Path]:
    """The paths whose content or names were synced, also under the names that they got later."""
    found: set[Path] = set()
    for before, (kind, path) in zip([("", Path()), *events], events, strict=False):
        if kind == "sync" or (kind == "to" and before[1] in found):
            found.add(path)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="/proc tells which file is synced")
@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_an_output_is_on_the_disk_before_it_has_its_name(
    nerx: Nerx, disk: list[Event], tiny_adapter: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "Ada met Bob."}\n' * 5)
    done = nerx("extract", tmp_path / "in.jsonl", "--adapter", tiny_adapter, "--out", tmp_path / name)
    assert done.code == 0, done.err
    (named,) = [at for at, (kind, path) in enumerate(disk) if kind == "to" and path == tmp_path / name]
    assert disk[named - 1][1] in on_disk(disk[: named - 1])
    pieces = [at for at, (kind, path) in enumerate(disk) if kind == "to" and path.name.startswith("part-")]
    assert pieces
    for at in pieces:
        assert disk[at - 1][1] in on_disk(disk[: at - 1])
        assert ("sync", disk[at][1].parent) in disk[at:]
    assert ("sync", tmp_path) in disk[named:]
