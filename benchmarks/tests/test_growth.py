import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.speed.growth import Axis, Point, kept


def axis(name: str, *costs: float) -> Axis:
    points = tuple(Point(10**k, 10**k, cost * 10**k / 1000, 0.0) for k, cost in enumerate(costs))
    return Axis(name, name, "text", points, "c0ffee", "2026-01-01")


def test_the_spread_is_what_the_dearest_unit_costs_over_the_cheapest() -> None:
    assert axis("corpus", 2.0, 2.0).spread == pytest.approx(0.0)
    assert axis("corpus", 2.0, 2.5, 2.1).spread == pytest.approx(0.25)


def test_an_axis_measured_anew_replaces_its_former_self_alone(tmp_path: Path) -> None:
    result = tmp_path / "growth.json"
    old = [axis("labels", 1.0, 2.0), axis("corpus", 5.0, 6.0)]
    assert kept(result, old[1:]) == old[1:]
    result.write_text(json.dumps({"axes": [{**asdict(one), "spread": one.spread} for one in old]}))
    new = axis("corpus", 5.0, 5.1)
    assert kept(result, [new]) == [new, old[0]]
