"""docs/benchmarks.md, from the files in benchmarks/results: no number is typed by hand.

    python -m benchmarks.page

A section appears where its file does.
"""

import re
import shutil
import sys
from typing import Any

from uncurse import zoo
from uncurse.report import _numbers

from . import _runs, certified, plot, scale, work_precision
from .baselines import METHODS
from .plot import error, half_width, known
from .work_precision import UNCURSE

PAGE = _runs.ROOT / "docs" / "benchmarks.md"
PICTURE = _runs.RESULTS / "work_precision.png"
SHOWN = PAGE.parent / "img" / PICTURE.name

INF = float("inf")

Run = dict[str, Any]

HEAD = """# Benchmarks

Each section names the command that made it. Every run is a process of its own; seconds count from its start, imports
and compilation included. This page is written by `python -m benchmarks.page` from the files in `benchmarks/results`.
"""

STUDY = """Every case of the zoo at its default size: `uncurse` at three tolerances, three published methods at growing
budgets.

    {command}

{machine}.

![Relative half-widths and errors against seconds, one panel a case](img/work_precision.png)

Discs are half-widths of intervals. Crosses are true errors, which only a reference can tell: the three other methods
give no interval. The two are not the same kind of number.

- `linearised-mc`: plain Monte Carlo for f expanded to first order about a constant.
- `multilevel-picard`: full-history recursive, M = n; with the Bismut-Elworthy-Li weight where f contains the gradient.
- `deep-bsde`: E, Han and Jentzen (2017), with the settings they published, on 64 paths an iteration.

All are our own code (`benchmarks/baselines`), with settings from the papers, not tuned. A run ends at its time limit;
what it then has is shown. With more time deep BSDE goes on: `iterations` says how far it came.

### The most that each method did

`uncurse`: half-width of the 99 % interval. Others: true error, and in parentheses the standard error that the method
itself knows, where it knows one. Where u is unknown, the error is against uncurse's narrowest interval.
"""

TOLERANCES = """### What uncurse gave at each tolerance

`total s` is from the start of the process. A run that did not meet its tolerance ended at the time limit, or because no
certificate was affordable.
"""

BENCH = """    uncurse bench --time-limit 60 --write benchmarks/results/bench.md

Each case at its default tolerance, 1e-3, and the control problem at growing strength.
"""

SCALE = """    {command}

{device}; {machine}.

Default settings. `total s` is from the start of the process to its end, of which `certify s` is sampling: the rest is
import, compilation and training.
"""

CERTIFIED = """    {command}

No formula is known for these two, in 100 dimensions. Values in use come from multilevel Picard iteration, without an
interval: 57.3 (Han, Jentzen and E 2018) and 21.299 (E, Han and Jentzen 2017). What the interval rests on stands under
`assumptions`.
"""


def main() -> int:
    sections = [
        HEAD, _study(), _included("The zoo: `uncurse bench`", "bench.md", BENCH),
        _included("Coverage", "coverage.md"), _scale("gpu", "a GPU"), _scale("cpu", "a processor"), _certified(),
        _included("Tried: antithetic paths and quasi-Monte Carlo", "sampling.md"),
    ]
    PAGE.write_text("\n".join(section for section in sections if section))
    print(f"written to {PAGE}")
    return 0


def _study() -> str:
    study = _runs.read(work_precision.TARGET)
    if study is None:
        return ""
    runs: list[Run] = study["runs"]
    plot.draw(runs, PICTURE)
    SHOWN.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PICTURE, SHOWN)
    intro = STUDY.format(command=study["command"], machine=_machines(runs))
    names = [name for name in zoo.equations if any(run["case"] == name for run in runs)]
    by_case = {name: [run for run in runs if run["case"] == name] for name in names}
    most = _table(
        ["case", "u", "uncurse", *(f"`{method}`" for method in METHODS)],
        [[name, _truth(group), *(_most(group, method) for method in (UNCURSE, *METHODS))]
         for name, group in by_case.items()],
    )  # fmt: skip
    detail = _table(
        ["case", "tolerance", "value", "interval", "guarantee", "half-width", "true error", "total s", "met"],
        [_detail(run, by_case[name]) for name in names for run in by_case[name] if run["method"] == UNCURSE],
    )
    return "\n".join(["## Work and precision", "", intro, most, "", TOLERANCES, detail, ""])


def _machines(runs: list[Run]) -> str:
    """The machine, and the range of its load while the study ran."""
    loads = [float(run["machine"].rpartition("load ")[2]) for run in runs if "load " in run["machine"]]
    machine = runs[-1]["machine"].partition(", load ")[0]
    return machine if not loads else f"{machine}; load before a run {min(loads):.1f} to {max(loads):.1f}"


def _truth(runs: list[Run]) -> str:
    if runs[0]["reference"] is not None:
        return f"{runs[0]['reference']:.10g}"
    truth = known(runs)
    return "unknown" if truth is None else f"in [{_interval(sum(truth) / 2, *truth)[1]}]"


def _ends(run: Run) -> tuple[float, float]:
    """JSON has no infinite numbers."""
    return -INF if run["low"] is None else run["low"], INF if run["high"] is None else run["high"]


def _interval(value: float, low: float, high: float) -> tuple[str, str]:
    shown = _numbers.interval(value, low, high)
    return shown[0], f"{shown[1]}, {shown[2]}"


def _most(group: list[Run], method: str) -> str:
    """What a method came to with the largest budget that gave a value."""
    truth = known(group)
    runs = [r for r in group if r["method"] == method and r.get("value") is not None]
    if not runs:
        return "no value"
    if method == UNCURSE:
        run = min(runs, key=half_width)
        return f"±{_percent(half_width(run))}, {_words(run['guarantee'])}, {run['seconds']:.0f} s"
    run = runs[-1]
    size = abs(sum(truth)) / 2 if truth else abs(run["value"])
    near, far = error(run, truth) if truth else (0.0, float("nan"))
    off = _percent(far) if near == far else f"{_percent(near)} to {_percent(far)}"
    spread = f" (±{_percent(run['spread'] / size)})" if run["spread"] is not None else ""
    return f"{off}{spread}, {run['seconds']:.0f} s, {run['unit']} {run['done']}"


def _detail(run: Run, group: list[Run]) -> list[str]:
    tolerance = f"{run['budget']:g}"
    if run.get("value") is None:
        return [run["case"], tolerance, "no value", *[""] * 6]
    value, interval = _interval(run["value"], *_ends(run))
    off = "" if run["reference"] is None else _percent(error(run, (run["reference"],) * 2)[1])
    return [run["case"], tolerance, value, f"[{interval}]", _words(run["guarantee"]), _percent(half_width(run)), off,
            f"{run['seconds']:.1f}", "yes" if run["complete"] else "no"]  # fmt: skip


def _words(guarantee: str) -> str:
    return guarantee.replace("_", " ")


def _percent(fraction: float) -> str:
    """A ratio; from ten up, as a factor."""
    return f"{fraction:.1e} times u" if 10 <= fraction < INF else _numbers.percent(fraction)


def _included(title: str, name: str, intro: str = "") -> str:
    """A section around a file in results, without that file's own title."""
    path = _runs.RESULTS / name
    if not path.exists():
        return ""
    body = re.sub(r"\A# .*\n+", "", path.read_text())
    return "\n".join([f"## {title}", "", *([intro] if intro else []), body.rstrip(), ""])


def _scale(platform: str, where: str) -> str:
    found = _runs.read(scale.target(platform))
    if found is None:
        return ""
    rows = []
    for run in sorted(found["runs"], key=lambda run: (scale.CASES.index(run["case"]), run["dim"], -float(run["rtol"]))):
        asked = [run["case"], f"{run['dim']:,}".replace(",", " "), run["rtol"]]
        if run.get("value") is None:
            rows.append([*asked, "no value", *[""] * 4, f"{run['wall']:.1f}"])
            continue
        low, high = _ends(run)
        value, interval = _interval(run["value"], low, high)
        inside = run["reference"] is None or low <= run["reference"] <= high
        truth = "" if run["reference"] is None else "inside" if inside else "outside"
        spent = f"{run['seconds']['certify']:.1f}", f"{run['wall']:.1f}"
        rows.append([*asked, value, f"[{interval}]", _words(run["guarantee"]), truth, *spent])
    columns = ["case", "d", "rtol", "value", "interval", "guarantee", "reference", "certify s", "total s"]
    intro = SCALE.format(command=found["command"], machine=_machines(found["runs"]), device=found["runs"][0]["device"])
    return "\n".join([f"## Dimensions up to a million on {where}", "", intro, _table(columns, rows), ""])


def _certified() -> str:
    found = _runs.read(certified.TARGET)
    if found is None:
        return ""
    runs = [run for run in found["runs"] if run.get("value") is not None]
    rows = []
    for run in runs:
        value, interval = _interval(run["value"], run["low"], run["high"])
        rows.append([run["case"], value, f"[{interval}]", _numbers.level(run["confidence"]), _words(run["guarantee"]),
                     _percent(half_width(run)), f"{run['seconds']['total']:.0f}"])  # fmt: skip
    columns = ["case", "u(0, (100, ..., 100))", "interval", "confidence", "guarantee", "half-width", "total s"]
    printed = [f"```text\n$ {run['command']}\n{run['printed']}\n```\n" for run in runs]
    intro = CERTIFIED.format(command=found["command"])
    proved = all(run["guarantee"] in plot.PROVED for run in runs)       # an estimate is not certified
    title = "First certified values" if proved else "First values with an interval"
    return "\n".join([f"## {title}: default risk and different rates", "", intro, _table(columns, rows), "", *printed])


def _table(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows))


if __name__ == "__main__":
    sys.exit(main())
