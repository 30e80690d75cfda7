"""Compressed files as seekable bytes: gzip, zstd and bzip2, told by the suffix.

zstd and bzip2 go through Arrow's codecs, which complain of a stream that is cut off or followed by something else.
Python's own bzip2 takes what follows the first damaged stream for padding, and so loses rows in silence.
"""

import gzip
import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

CODECS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
"""Suffix, in small letters -> codec. Line formats may be compressed; Parquet is so inside."""

READ_BYTES = 1 << 20
"""Size of one read; measured no faster above."""


def without_codec(name: str) -> str:
    """A file's name without the suffix of its compression."""
    codec = codec_suffix(name)
    return name[: len(name) - len(codec)] if codec else name


def codec_suffix(name: str) -> str:
    """The suffix of CODECS that a name ends in, in any case; empty when in none."""
    return next((suffix for suffix in CODECS if name.lower().endswith(suffix)), "")


def decompressed(name: str, open_file: Callable[[], Any]) -> BinaryIO:
    """The content of a file of that name, which `open_file` opens as a pyarrow file. Seekable.

    Reading raises OSError, EOFError or zlib.error for a damaged archive.
    """
    codec = CODECS.get(codec_suffix(name))
    if codec in ("zstd", "bz2"):
        return cast(BinaryIO, io.BufferedReader(_Unpacked(open_file, codec), READ_BYTES))
    stream = cast(BinaryIO, io.BufferedReader(open_file(), READ_BYTES))
    return cast(BinaryIO, gzip.open(stream)) if codec else stream


class _Unpacked(io.RawIOBase):
    """Arrow's stream of decompressed bytes. Seeks by reading on, or from the start again."""

    def __init__(self, open_file: Callable[[], Any], codec: str) -> None:
        self._open, self._codec = open_file, codec
        self._rewind()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the length of compressed content is not known")
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._stream.close()
            self._rewind()
        while self._at < target:
            data = self._stream.read(min(READ_BYTES, target - self._at))
            if not data:
                break
            self._at += len(data)
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _rewind(self) -> None:
        import pyarrow as pa

        self._stream, self._at = pa.CompressedInputStream(self._open(), self._codec), 0
