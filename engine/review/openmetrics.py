"""A run report as OpenMetrics text, for the textfile collector of Prometheus' node_exporter.

All metrics are gauges, even those that could be counters: they describe the last run and start again with the next.
So collectors that know only the older Prometheus format, without the `_total` rule, can read the file too.
Format: https://prometheus.io/docs/specs/om/open_metrics_spec/

nerx writes the format itself. prometheus_client would be one more dependency of every run for twenty lines, and it
writes counts as floats (`nerx_rows 10.0`). It is the judge in tests, which parse each file with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .report import RunReport, versions

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples are (labels, value)."""

    name: str
    help: str
    samples: tuple[tuple[Labels, float], ...]
    unit: str = ""

    def render(self, common: Labels) -> Iterator[str]:
        """The lines of this metric. Each sample also gets the `common` labels."""
        yield f"# TYPE {self.name} gauge"
        if self.unit:
            yield f"# UNIT {self.name} {self.unit}"
        yield f"# HELP {self.name} {_escaped(self.help)}"
        for labels, value in self.samples:
            pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in {**common, **labels}.items())
            yield f"{self.name}{{{pairs}}} {_number(value)}"


def openmetrics(report: RunReport) -> str:
    """The whole file. Every sample has the output as a label, so that a collector can read files of several jobs."""
    counts = report.to_dict()
    common = {"output": str(counts.get("out") or counts["options"].get("out") or "")}
    lines = [line for family in _families(report) if family.samples for line in family.render(common)]
    return "\n".join([*lines, "# EOF", ""])


def _families(report: RunReport) -> Iterator[Family]:
    counts = report.counts
    yield _single("nerx_run_exit_code", "Exit code of the last run; 0 is done.", report.exit_code)
    yield _single("nerx_run_start_timestamp_seconds", "When the last run began.", report.started.timestamp(), "seconds")
    yield _single("nerx_run_end_timestamp_seconds", "When the last run ended.", report.ended.timestamp(), "seconds")
    for name, text in _COUNTS.items():
        if name in counts:
            yield _single(f"nerx_{name}", text, counts[name])
    if "seconds" in counts:
        yield _single("nerx_work_seconds", "Time spent on the rows, over all runs.", counts["seconds"], "seconds")
    yield _by("nerx_stage_seconds", "Time per stage of the last run.", "stage", counts.get("stages", {}), "seconds")
    per_label = counts.get("entities_per_label", {})
    yield _by("nerx_label_entities", "Entities found, per label.", "label", per_label)
    kinds = counts.get("failures_per_kind", {})
    yield _by("nerx_kind_failed_rows", "Rows with a nerx_error, per kind of error.", "kind", kinds)
    for name, value, text in (
        ("nerx_rounds_per_text", report.rounds_per_text, "Mean number of decoding rounds per text."),
        ("nerx_acceptance_ratio", report.acceptance_rate, "Share of drafted tokens that the model kept."),
    ):
        if value is not None:
            yield _single(name, text, value, "ratio" if name.endswith("ratio") else "")
    yield Family("nerx_versions", "Always 1; the versions are labels.", ((versions(), 1.0),))


_COUNTS = {
    "rows": "Rows that are finished, including those of earlier runs.",
    "resumed_rows": "Rows that earlier runs had finished.",
    "texts": "Finished rows whose text is not null.",
    "repeats": "Texts that are equal to an earlier one and were not read again.",
    "entities": "Entities found in the finished rows.",
    "failures": "Finished rows with a nerx_error.",
    "characters_in": "Characters in the texts that were processed.",
    "characters_read": "Characters of these texts that were read.",
    "tokens": "Tokens read by the model.",
}


def _single(name: str, help: str, value: float, unit: str = "") -> Family:  # noqa: A002  # the format calls it so
    return Family(name, help, (({}, value),), unit)


def _by(name: str, help: str, label: str, values: Mapping[str, float], unit: str = "") -> Family:  # noqa: A002
    return Family(name, help, tuple(({label: key}, value) for key, value in sorted(values.items())), unit)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
