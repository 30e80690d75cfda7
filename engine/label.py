"""Labels: natural names with optional one-line descriptions, in a fixed order."""

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True, slots=True)
class Label:
    """A kind of entity: `name` as it is written in seeds and output, `description` as it is put in the prompt."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Distinct labels in the order of the prompt. Raises InputError on an empty set, a blank or a repeated name."""

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise InputError("no labels: at least one label is needed")
        names = self.names
        for name in names:
            if not name.strip():
                raise InputError(f"a label name is blank: {name!r}")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"labels given more than once: {', '.join(repeated)}")

    @classmethod
    def of(cls, *names: str) -> "LabelSet":
        """A set without descriptions."""
        return cls(tuple(Label(name) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def index(self, name: str) -> int:
        """The place of the label called `name`. Raises InputError when there is no such label."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(f"unknown label {name!r}; known: {', '.join(self.names)}") from None
