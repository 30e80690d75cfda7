"""`--shard i/n`: which part of a corpus is this machine's, told by arithmetic alone. Knows no files."""

import re
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True, slots=True)
class Share:
    """Number `index` (from 1) of `count` machines. They need not know of each other: shards go round in turn."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(f"--shard {self}: the first number is from 1 to the second, as in 1/4 or 4/4")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Share":
        """The share that a text such as `2/4` names. Raises InputError for anything else."""
        if not re.fullmatch(r"[0-9]{1,6}/[0-9]{1,6}", text):
            raise InputError(f"--shard {text!r}: write it as i/n, for example 1/4")
        index, count = map(int, text.split("/"))
        return cls(index, count)

    def takes(self, shard: int) -> bool:
        """Whether the shard numbered `shard`, from 0, is this machine's."""
        return shard % self.count == self.index - 1
