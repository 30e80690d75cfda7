"""Names of files and folders that the libraries below nerx can open."""

from pathlib import Path

from .errors import InputError


def require_unicode(path: str | Path, error: type[InputError]) -> None:
    """Raises `error` for a name whose bytes are no UTF-8: Arrow and the tokenizers open no such file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise error(
            f"{path}: this name is not UTF-8, and nerx cannot open it: rename it, for example with mv"
        ) from None
