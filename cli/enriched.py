"""What `nerx extract` wrote, read back for people: rows with their entities, and the facts in its metadata."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import CorpusError
from ..engine.span import Span

METADATA_PREFIX = "nerx."


@dataclass(frozen=True, slots=True)
class EnrichedRow:
    """One row that was read. `number` counts from 0 over the whole output; `error` says why there are no spans."""

    number: int
    text: str
    spans: tuple[Span, ...]
    error: str | None


class Enriched:
    """An output, a file or a folder of Parquet parts. Raises CorpusError when `path` is none."""

    def __init__(self, path: Path, text_column: str | None = None) -> None:
        import polars

        self.path = path
        self.parts = _parts(path)
        try:
            self.frame: polars.LazyFrame = polars.scan_parquet(self.parts, missing_columns="insert")
            self.columns = self.frame.collect_schema()
            metadata = polars.read_parquet_metadata(self.parts[0])
        except (polars.exceptions.PolarsError, OSError) as error:
            raise CorpusError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error
        if not {"entities", "nerx_error"} <= set(self.columns):
            raise CorpusError(f"{path}: not written by nerx extract; its columns are {', '.join(self.columns)}")
        self.metadata = {
            name.removeprefix(METADATA_PREFIX): value
            for name, value in metadata.items()
            if name.startswith(METADATA_PREFIX)
        }
        self.text_column = text_column or self.metadata.get("text_column", "text")
        if self.text_column not in self.columns:
            raise CorpusError(f"{path}: no column {self.text_column!r}; its columns are {', '.join(self.columns)}")

    def rows(self, limit: int, label: str | None, empty: bool) -> list[EnrichedRow]:
        """The first `limit` rows that have an entity (of `label`, when given), or any rows where `empty`."""
        import polars

        entities = polars.col("entities")
        wanted = entities.list.len() > 0
        if label is not None:
            wanted = entities.list.eval(polars.element().struct.field("label")).list.contains(label)
        frame = self.frame.select(self.text_column, "entities", "nerx_error").with_row_index("row")
        chosen = (frame if empty else frame.filter(wanted)).head(limit).collect(engine="streaming")
        return [
            EnrichedRow(
                number,
                text or "",
                tuple(Span(e["start"], e["end"], e["label"], e["score"]) for e in found or ()),
                error,
            )
            for number, text, found, error in chosen.iter_rows()
        ]


def _parts(path: Path) -> list[Path]:
    if not path.exists():
        raise CorpusError(f"{path}: no such file or folder")
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not parts:
        raise CorpusError(f"{path}: a folder without .parquet files")
    return parts
