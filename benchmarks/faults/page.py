"""The counts as a page to read. Pure functions; what is not counted yet is left out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

ABOUT = """# What goes wrong at night

Written by `benchmarks/faults/trouble.py`: the real `nerx extract` over a lake of wide rows, disturbed, run again until
it is through, and compared with what an undisturbed run makes: every column of every row, entities and scores too.
"""


def to_page(parts: Mapping[str, Any]) -> str:
    """`parts` are the cells of the result file."""
    told = [f"{TELLERS[name](parts[name]['counts'])}\n{_where(parts[name])}" for name in TELLERS if name in parts]
    return "\n".join([ABOUT, *told])


def _kills(counts: Mapping[str, Any]) -> str:
    total = Counter[str]()
    lines = []
    for name, one in counts.items():
        fields = ("kills", "runs", "equal", "resumed", "rows_lost", "rows_twice", "leftovers")
        lines.append([name, f"{one['cpu_seconds']:.0f}", *(one[field] for field in fields), len(one["errors"])])
        total.update({field: one[field] for field in fields})
    lines.append(["all", "", *total.values(), sum(len(one["errors"]) for one in counts.values())])
    head = [
        *("run", "CPU s undisturbed", "kill -9", "outputs", "equal", "resumed", "rows lost", "rows twice", "leftovers"),
        "errors",
    ]
    stages = Counter[str]()
    for one in counts.values():
        stages.update(one["stages"])
    struck = ", ".join(f"{stage} {count}" for stage, count in stages.most_common())
    errors = "".join(f"- {error}\n" for one in counts.values() for error in one["errors"])
    return (
        "## kill -9 at random moments\n\nOf the whole process group; the next run begins at once, while Ray's workers "
        "of the last one, which have groups of their own, may still be there. Resumed: with rows of killed runs."
        f"\n\n{_table(head, lines)}\nWhere they struck: {struck}.\n{errors}"
    )


def _disks(counts: Mapping[str, Any]) -> str:
    head = ["trouble, output", "exit code", "message", "rerun", "rows kept", "equal"]
    lines = [
        [name, one["exit_code"], f"`{one['message']}`", one["exit_code_of_rerun"], _kept(one), _yes(one["equal"])]
        for name, one in counts.items()
        if one is not None
    ]
    left_out = [name for name, one in counts.items() if one is None]
    missing = f"\nNot counted, since mounting is not allowed here: {'; '.join(left_out)}.\n" if left_out else ""
    return f"## Disks and inputs\n\n{_table(head, lines)}{missing}"


def _kept(one: Mapping[str, Any]) -> str:
    return "-" if one["resumed_rows"] is None else f"{one['resumed_rows']:,} of {one['rows']:,}"


def _stores(counts: Mapping[str, Any]) -> str:
    head = ["output", "requests", "failed", "exit code", "runs", "equal", "message"]
    lines = [
        [
            *(name, one["requests"], sum(one["failed_requests"].values()), one["exit_code"], one["runs"]),
            *(_yes(one["equal"]), one["message"]),
        ]
        for name, one in counts.items()
    ]
    return f"## An S3 server that fails every fifth request\n\n{_table(head, lines)}"


def _pairs(counts: Mapping[str, Any]) -> str:
    head = ["output", "pairs", "one works, the other ends with 75", "equal", "message"]
    fields = ("pairs", "one_works_and_the_other_ends_with_75", "equal")
    lines = [[name, *(one[field] for field in fields), *one["messages"]] for name, one in counts.items()]
    return f"## Two runs started at once\n\n{_table(head, lines)}"


def _lake(counts: Mapping[str, Any]) -> str:
    one = counts["incremental"]
    seconds, cpu = min(one["noop_seconds"]), min(one["noop_cpu_seconds"])
    return (
        f"## A lake of {one['inputs']:,} inputs\n\n"
        f"- nothing new: {seconds:.2f} s, {cpu:.2f} s of CPU (best of {len(one['noop_seconds'])}; "
        f"slowest {max(one['noop_seconds']):.2f} s), exit code {one['noop_exit_codes'][0]} as asked\n"
        f"- one new input: {one['inputs_new']} new and {one['inputs_unchanged']:,} unchanged; inputs read "
        f"{one['inputs_read']}, parts added {one['parts_added']}, parts touched {one['parts_touched']}; "
        f"{one['rows']:,} rows before and {one['rows_after']:,} after\n"
    )


def _workers(counts: Mapping[str, Any]) -> str:
    one = counts["ray against local"]
    lines = [
        [name, one[f"{name}_rows_a_second"], f"{one[f'{name}_peak_mib']:,.0f}", ", ".join(map(str, one["all"][name]))]
        for name in ("local", "ray")
    ]
    return (
        "## Two Ray workers against one process with two threads\n\n"
        f"{one['rows']:,} texts, the whole command with its start-up, best of {one['repeats']}. Memory is that of all "
        f"processes, shared pages counted once.\n\n{_table(['run', 'rows/s', 'peak MiB', 'each'], lines)}\n"
        f"Ray over local: {one['ray_over_local']}; same spans: {_yes(one['same_spans'])}.\n"
    )


TELLERS = {"kills": _kills, "disks": _disks, "stores": _stores, "pairs": _pairs, "lake": _lake, "workers": _workers}


def _table(head: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    titles = list(head)
    rows = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in rows)


def _where(cell: Mapping[str, Any]) -> str:
    machine = cell["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores; {cell['date']}, commit {cell['commit'] or 'unknown'}.\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
