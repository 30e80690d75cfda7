"""Options of `nerx extract` that make no sense together, or not alone."""

from collections.abc import Mapping

from ..engine.errors import InputError

_ON_WHAT_IS_THERE = "it works on the rows of the output that is there"
_IN_A_FOLDER = "it works on a folder of this machine, or one that it mounts"
_TOGETHER = {
    ("--incremental", "--shard"): "a growing folder has one writer; give each machine inputs and a folder of its own",
    ("--incremental", "--limit"): "the first rows of a growing folder would be all that it ever reads",
    ("--incremental", "--text-unit file"): "it makes a part for each input, and would make one for each text",
    ("--retry-failed", "--incremental"): _ON_WHAT_IS_THERE,
    ("--retry-failed", "--shard"): _ON_WHAT_IS_THERE,
    ("--retry-failed", "--limit"): _ON_WHAT_IS_THERE,
    ("--retry-failed", "--overwrite"): _ON_WHAT_IS_THERE,
    ("--retry-failed", "--dry-run"): _ON_WHAT_IS_THERE,
    ("--incremental", "an --out in a store"): _IN_A_FOLDER,
    ("--incremental", "--backend ray"): "what is new since the last run is worked on by one process",
    ("--retry-failed", "--backend ray"): "what has failed is worked on by one process",
    ("--retry-failed", "an --out in a store"): _IN_A_FOLDER,
    ("--shard", "an --out in a store"): _IN_A_FOLDER + "; give each machine inputs and a prefix of its own",
}
_NEEDS = {
    "--workers": ("--backend ray",),
    "--prune": ("--incremental",),
    "--noop-code": ("--incremental", "--retry-failed"),
}


def refuse_clashes(given: Mapping[str, object]) -> None:
    """Raises InputError for the first clash. `given` maps options to values; those that are false are not given."""
    for (first, second), reason in _TOGETHER.items():
        if given[first] and given[second]:
            raise InputError(f"{first} and {second} do not go together: {reason}")
    for option, needed in _NEEDS.items():
        if given[option] and not any(given[name] for name in needed):
            raise InputError(f"{option} goes with {' or '.join(needed)} only")
