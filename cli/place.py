"""Where the output of `nerx extract` goes when nothing is said."""

from pathlib import Path

from ..engine.errors import InputError


def default_output(corpus: list[str], *, folder: bool = False) -> Path:
    """`CORPUS.nerx.parquet` beside a single input, `CORPUS.nerx` for a folder.

    Raises InputError where "beside" has no one meaning.
    """
    if "://" in corpus[0]:
        raise InputError("an input in a store: say with --out where the result goes")
    if len(corpus) > 1 or (set("*?[") & set(corpus[0]) and not Path(corpus[0]).exists()):
        raise InputError("several inputs: say with --out where the result goes")
    source = Path(corpus[0])
    stem = source.name if source.is_dir() else source.name.removesuffix(".gz").rpartition(".")[0]
    return source.with_name(f"{stem or source.resolve().name}.nerx{'' if folder else '.parquet'}")
