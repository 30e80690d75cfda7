from types import SimpleNamespace

from benchmarks.speed.throughput import LENGTH, long_texts, measure


def words(text: str) -> list[tuple[int, int]]:
    ends = [at for at, letter in enumerate(text) if letter == " "] + [len(text)]
    return list(zip([0, *(end + 1 for end in ends)], ends, strict=False))


class Source(list[int]):
    def __init__(self, text: str) -> None:
        self.offsets = words(text)
        super().__init__(range(len(self.offsets)))


def test_texts_are_joined_and_cut_to_one_length() -> None:
    encoder = SimpleNamespace(encode_source=Source)
    short = [f"a{n} b{n} c{n} d{n} e{n} f{n} g{n}" for n in range(40)]
    found = list(long_texts(short, encoder))  # type: ignore[arg-type]
    assert [len(words(text)) for text in found] == [LENGTH, LENGTH]
    assert found[0].startswith("a0 b0")
    assert found[1].startswith("a18 b18")


def test_every_way_reads_every_text() -> None:
    read: dict[str, list[str]] = {"one": [], "two": []}
    texts = [str(n) for n in range(70)]
    times = measure({name: seen.extend for name, seen in read.items()}, texts, 1)
    assert read["one"] == read["two"] == [*texts[:2], *texts]
    assert set(times) == {"one", "two"}
    assert all(wall >= 0 for wall, _ in times.values())
