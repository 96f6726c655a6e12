"""The picture of the work-precision study."""

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from uncurse import zoo

from .baselines import METHODS
from .work_precision import UNCURSE

COLOURS = {UNCURSE: "#0072b2", "linearised-mc": "#e69f00", "multilevel-picard": "#009e73", "deep-bsde": "#b2468a"}
INK, MUTED, GRID = "#22272e", "#6b7480", "#e4e7eb"
BOTTOM, TOP = 1e-6, 3.0
SECONDS = [1, 3, 10, 30, 100]
LEFT, RIGHT = 1.0, 200.0
CROSSES = {"linearised-mc": "x", "multilevel-picard": "+", "deep-bsde": "1"}
PROVED = ("unbiased", "two_sided")

Run = dict[str, Any]


def half_width(run: Run) -> float:
    """Relative half-width of the interval; infinite without two finite ends."""
    if run.get("low") is None or run.get("high") is None:
        return math.inf
    return (run["high"] - run["low"]) / 2 / abs(run["value"])


def known(runs: list[Run]) -> tuple[float, float] | None:
    """What is known of u: the reference, or else the narrowest interval that uncurse gave."""
    if runs[0]["reference"] is not None:
        return runs[0]["reference"], runs[0]["reference"]
    ends = [(r["low"], r["high"]) for r in runs if r["method"] == UNCURSE and half_width(r) < math.inf]
    return min(ends, key=lambda e: e[1] - e[0], default=None)


def error(run: Run, truth: tuple[float, float]) -> tuple[float, float]:
    """Least and greatest relative error that a value can have."""
    low, high = truth
    size = abs(low + high) / 2
    far = max(abs(run["value"] - low), abs(run["value"] - high))
    near = max(low - run["value"], run["value"] - high, 0.0) if low < high else far
    return near / size, far / size


def draw(runs: list[Run], path: Path) -> None:
    """One panel a case, on common logarithmic axes."""
    figure = Figure(figsize=(13.5, 6.6), dpi=130, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    names = [name for name in zoo.equations if any(run["case"] == name for run in runs)]
    panels = figure.subplots(2, (len(names) + 1) // 2, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, name, [run for run in runs if run["case"] == name])
    for axes in panels[len(names):]:
        axes.set_visible(False)
    for axes in panels:
        below = axes.get_subplotspec()
        assert below is not None
        axes.set_xlabel("seconds since the process started" if below.is_last_row() else "", color=INK, fontsize=8)
        axes.set_ylabel("relative to |u|" if below.is_first_col() else "", color=INK, fontsize=8)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path)


def _panel(axes: Axes, name: str, runs: list[Run]) -> None:
    axes.set(xscale="log", yscale="log", xlim=(LEFT, RIGHT), ylim=(BOTTOM, TOP))
    axes.xaxis.set_major_locator(FixedLocator(SECONDS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=8, which="both")
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    truth = known(runs)
    if runs[0]["reference"] is None:
        axes.text(0.03, 0.03, "no reference: bars span the errors that\nuncurse's narrowest interval allows",
                  transform=axes.transAxes, fontsize=7, color=MUTED, zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
    for method in METHODS:
        _baseline(axes, [r for r in runs if r["method"] == method and r.get("value") is not None], truth)
    _uncurse(axes, [r for r in runs if r["method"] == UNCURSE and half_width(r) < math.inf], truth)


def _uncurse(axes: Axes, runs: list[Run], truth: tuple[float, float] | None) -> None:
    """Discs for intervals, joined by a line; below each, its true error."""
    colour = COLOURS[UNCURSE]
    axes.plot([r["seconds"] for r in runs], [half_width(r) for r in runs], color=colour, linewidth=1.6, zorder=3)
    for run in runs:
        proved = run["guarantee"] in PROVED
        axes.plot(run["seconds"], half_width(run), "o", markersize=7.5, color=colour, zorder=4,
                  markerfacecolor=colour if proved else "white", markeredgewidth=1.6)  # fmt: skip
        if run["reference"] is not None and truth is not None:
            shown = max(error(run, truth)[1], BOTTOM)
            axes.plot([run["seconds"]] * 2, [shown, half_width(run)], color=colour, linewidth=0.6, alpha=0.6)
            axes.plot(run["seconds"], shown, "x", markersize=5, color=colour, zorder=4, clip_on=False)


def _baseline(axes: Axes, runs: list[Run], truth: tuple[float, float] | None) -> None:
    """Crosses for true errors, joined by dots; an arrow at the top for an error beyond it."""
    if not runs or truth is None:
        return
    colour, cross = COLOURS[runs[0]["method"]], CROSSES[runs[0]["method"]]
    seconds, errors = [r["seconds"] for r in runs], [error(r, truth) for r in runs]
    shown = [min(max(far, BOTTOM), TOP) for _, far in errors]
    axes.plot(seconds, shown, ":", color=colour, linewidth=1.2)
    for x, y, (near, far) in zip(seconds, shown, errors, strict=True):
        axes.plot(x, y, "^" if far > TOP else cross, markersize=7, color=colour, clip_on=far <= TOP, zorder=3)
        if near < far <= TOP:
            axes.plot([x, x], [max(near, BOTTOM), y], color=colour, linewidth=1.2)


def _legend() -> list[Line2D]:
    blue = COLOURS[UNCURSE]
    solid: dict[str, Any] = {"color": blue, "linewidth": 1.6, "marker": "o", "markersize": 7.5, "markeredgewidth": 1.6}
    disc = Line2D([], [], label="uncurse: 99 % interval, half-width, by a theorem", **solid)
    ring = Line2D([], [], label="uncurse: 99 % interval, half-width, an estimate", markerfacecolor="white", **solid)
    cross = Line2D([], [], color=blue, marker="x", linewidth=0.6, label="uncurse: true error")
    others = [
        Line2D([], [], color=COLOURS[m], marker=CROSSES[m], linestyle=":", label=f"{m}: no interval, true error only")
        for m in METHODS
    ]
    arrow = Line2D([], [], color=MUTED, marker="^", linestyle="", label="true error above 300 %")
    return [disc, ring, cross, arrow, *others]
