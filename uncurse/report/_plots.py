"""The picture of a run: what was known when, and where the error comes from."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _numbers
from ._text import headline, reference_of, tolerance, uncertainty, words_of, worst_part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .._solution import Solution

INK, MUTED, GRID = "#22272e", "#6b7480", "#e4e7eb"
BLUE, GREEN, RED, GOLD = "#2f6db5", "#2b8a5b", "#c4453c", "#b07a10"
STAGE_COLOURS = {"pilot": "#9aa5b1", "certificate": BLUE}
DASHES = (0, (5, 3))
RESOLUTION = 150


def plot(solution: "Solution", path: Any = None) -> "Figure":
    """Draw the interval against seconds spent (one point) or per point (many), and the error budget beside it; below,
    what the policy of a control or a stopping problem does.

    Args:
        path: where to write the picture; its suffix chooses the format (.png, .pdf, .svg). `None` only draws.

    Returns:
        A matplotlib `Figure` that belongs to no global state.

    Raises:
        ImportError: matplotlib is missing.
        ValueError, FileNotFoundError: `path` has an unknown suffix or lies in no folder.
    """
    if path is not None:
        check_writable(path)
    from . import _decisions

    tall = _decisions.drawable(solution)
    figure = _figure(9.6 if tall else 5.0)
    rows = figure.add_gridspec(2, 1, height_ratios=(1.0, 1.15), hspace=0.03) if tall else None
    upper = figure if rows is None else figure.add_subfigure(rows[0])
    halves = upper.add_gridspec(1, 2, width_ratios=(1.55, 1.0), wspace=0.03)
    left, right = upper.add_subfigure(halves[0]), upper.add_subfigure(halves[1])
    if np.ndim(solution.value) == 0:
        panels = [left.add_subplot()]
        _draw_history(panels[0], solution)
    else:
        grid = left.add_gridspec(2, 1, height_ratios=(1.7, 1.0))
        panels = [left.add_subplot(grid[0])]
        panels.append(left.add_subplot(grid[1], sharex=panels[0]))
        panels[0].tick_params(labelbottom=False)
        _draw_points(panels[0], solution)
        _draw_half_widths(panels[1], solution)
    for axes in panels:
        axes.ticklabel_format(axis="y", useOffset=False)
    panels.append(right.add_subplot())
    _draw_budget(panels[-1], solution)
    if rows is not None:
        panels += _decisions.draw(figure.add_subfigure(rows[1]), solution)
    for axes in panels:
        _clean(axes)
    if path is not None:
        figure.savefig(Path(path), dpi=RESOLUTION)
    return figure


def _figure(height: float = 5.0) -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plotting needs matplotlib: pip install 'uncurse[plot]'") from error
    figure = Figure(figsize=(11.0, height), dpi=RESOLUTION, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def check_writable(path: Any) -> None:
    """Refuse a path that no picture can be written to, before any work is spent."""
    kinds = _figure().canvas.get_supported_filetypes()
    if Path(path).suffix.lstrip(".").lower() not in kinds:
        raise ValueError(f"a plot is written as {', '.join('.' + k for k in sorted(kinds))}; got {str(path)!r}")
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(Path(path).parent)!r} to write {Path(path).name!r} to")


def _draw_history(axes: "Axes", solution: "Solution") -> None:
    """Bands for what was known when; each holds until the next is known. A line where only one end is known."""
    snapshots = [s for s in solution.history if np.isfinite(s.low).all() or np.isfinite(s.high).all()]
    last = max([solution.timing.total, *(s.seconds for s in snapshots)]) or 1.0
    ends = [s.seconds for s in snapshots[1:]] + [last] * bool(snapshots)
    drawn = set()
    for snapshot, end in zip(snapshots, ends, strict=True):
        colour = STAGE_COLOURS.get(snapshot.stage, BLUE)
        span = [snapshot.seconds, max(end, snapshot.seconds)]
        low, high = (float(np.ravel(end)[0]) for end in (snapshot.low, snapshot.high))
        closed = math.isfinite(low) and math.isfinite(high)
        words = "interval" if closed else "upper end" if math.isfinite(high) else "lower end"
        label = None if snapshot.stage in drawn else f"{words}, {snapshot.stage}"
        drawn.add(snapshot.stage)
        if closed:
            axes.fill_between(span, low, high, color=colour, alpha=0.28, linewidth=0, label=label)
        for edge in (x for x in (low, high) if math.isfinite(x)):
            axes.plot(span, [edge, edge], color=colour, linewidth=1.6, solid_capstyle="butt",
                      label=None if closed else label)  # fmt: skip
    bottom, top = _vertical_limits(solution)
    axes.set_ylim(bottom, top)
    _draw_answer(axes, last, solution)
    _draw_lines(axes, solution)
    first = snapshots[0].seconds if snapshots else 0.0
    if first > 0.0 and last / first > 20.0:
        axes.set_xscale("log")
        axes.set_xlim(0.85 * first, 1.25 * last)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    else:
        axes.set_xlim(0.0, 1.06 * last)
        _draw_setup(axes, first, last, solution)
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel(words_of(solution).answer)
    axes.set_title(headline(solution)[0].partition(":")[0], loc="left", fontsize=12, color=INK, pad=10)
    _legend(axes, -0.15)


def _draw_setup(axes: "Axes", first: float, last: float, solution: "Solution") -> None:
    """The time before anything was known, where it is long enough to ask what it went into."""
    if first < 0.3 * last:
        return
    spent = {"import": solution.timing.imports, "compile": solution.timing.compile}
    words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items() if seconds >= 0.05)
    axes.axvspan(0.0, first, color=GRID, alpha=0.45, linewidth=0)
    axes.annotate(words, (first / 2, 0.04), xycoords=("data", "axes fraction"), ha="center", color=MUTED, fontsize=10)


def _draw_answer(axes: "Axes", at: float, solution: "Solution") -> None:
    """The answer and its interval; an arrow leaves the picture where an end is unbounded."""
    value, low, high = (float(x) for x in (solution.value, solution.low, solution.high))
    if not math.isfinite(value):
        return
    reach = [[max(x, 0.0) if math.isfinite(x) else 0.0] for x in (value - low, high - value)]
    style = {"color": INK, "markersize": 5, "linewidth": 1.8, "capsize": 4, "zorder": 5}
    axes.errorbar([at], [value], yerr=reach, fmt="o", label="answer", **style)
    for end, edge in zip((low, high), axes.get_ylim(), strict=True):
        if not math.isfinite(end):
            arrow = {"arrowstyle": "->", "color": INK, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xy=(at, edge), xytext=(at, value), arrowprops=arrow, zorder=5)


def _draw_lines(axes: "Axes", solution: "Solution") -> None:
    """The reference, and the width that was asked for around the answer."""
    asked, reference = tolerance(solution), reference_of(solution)
    if asked is not None and np.isfinite(asked):
        for sign, label in ((-1.0, f"asked: ± {_numbers.error(float(asked))}"), (1.0, None)):
            axes.axhline(float(solution.value) + sign * float(asked), color=GOLD, linestyle=DASHES, label=label)
    if reference is not None and math.isfinite(uncertainty(reference)):
        error = uncertainty(reference)
        if error > 1e-6 * abs(reference.value):
            axes.axhspan(reference.value - error, reference.value + error, color=GREEN, alpha=0.15, linewidth=0)
        axes.axhline(reference.value, color=GREEN, linewidth=1.5, label="reference")


def _vertical_limits(solution: "Solution") -> tuple[float, float]:
    """Limits that keep the end of the run readable: the first, wide bands may leave the picture."""
    asked, reference = tolerance(solution), reference_of(solution)
    ends = [float(x) for x in (solution.low, solution.high) if np.isfinite(x)]
    value = float(solution.value)
    centre = value if math.isfinite(value) else float(np.mean(ends)) if ends else 0.0
    reach = max((abs(x - centre) for x in ends), default=0.0)
    if asked is not None and np.isfinite(asked):
        reach = max(reach, float(asked))
    if reference is not None and abs(reference.value - centre) < 8.0 * reach:
        reach = max(reach, abs(reference.value - centre))
    reach = reach or max(1e-6 * abs(centre), 1e-12)
    return centre - 2.2 * reach, centre + 2.2 * reach


def _draw_points(axes: "Axes", solution: "Solution") -> None:
    """One error bar a point; a triangle points where an end is unbounded."""
    value, low, high = (np.asarray(x, dtype=float) for x in (solution.value, solution.low, solution.high))
    index, known = np.arange(len(value)), np.isfinite(value)
    reach = np.stack([value - low, high - value])
    bars = np.maximum(np.where(np.isfinite(reach), reach, 0.0), 0.0)[:, known]
    few = len(value) <= 60
    style = {"color": BLUE, "markersize": 4.0 if few else 2.0, "elinewidth": 1.3, "capsize": 3.0 if few else 0.0}
    axes.errorbar(index[known], value[known], yerr=bars, fmt="o", **style)
    for side, marker in ((low, "v"), (high, "^")):
        unbounded = known & ~np.isfinite(side)
        if unbounded.any():
            axes.plot(index[unbounded], value[unbounded], marker, color=RED, markersize=6, label="unbounded")
    axes.set_ylabel(words_of(solution).answer)
    axes.set_title(headline(solution)[0].partition(":")[0], loc="left", fontsize=12, color=INK, pad=10)


def _draw_half_widths(axes: "Axes", solution: "Solution") -> None:
    widths, asked = np.asarray(solution.half_width, dtype=float), tolerance(solution)
    index, known = np.arange(len(widths)), np.isfinite(widths)
    axes.vlines(index[known], 0.0, widths[known], color=BLUE, linewidth=2.5 if len(widths) <= 60 else 1.0,
                label="half-width")  # fmt: skip
    if asked is not None:
        axes.plot(index, asked, color=GOLD, linestyle=DASHES, label="asked")
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("half-width")
    axes.set_xlabel("point, in the order asked for")
    _legend(axes, -0.42)


def _draw_budget(axes: "Axes", solution: "Solution") -> None:
    """A bar for each part of the error, against the tolerance; an unknown or unbounded part fills the row."""
    widths, asked = np.asarray(solution.half_width, dtype=float), tolerance(solution)
    parts = {"half-width": worst_part(widths)}
    parts |= {name.replace("_", " "): worst_part(part) for name, part in solution.budget.items()}
    wanted = float(np.min(asked)) if asked is not None and np.isfinite(asked).all() else None
    sizes = [x for x in (*parts.values(), wanted) if x is not None and math.isfinite(x)]
    right = 1.35 * (max(sizes, default=0.0) or 1.0)
    axes.set_xlim(0.0, right)
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    for row, (name, size) in enumerate(parts.items()):
        known = math.isfinite(size)
        if known:
            axes.barh(row, size, height=0.5, color=INK if name == "half-width" else BLUE, alpha=0.85)
        else:
            axes.barh(row, right, height=0.5, facecolor="none", edgecolor=RED, hatch="///", linewidth=0, alpha=0.5)
        place, shift = (size, 5) if known else (right / 2, 0)
        axes.annotate(_numbers.error(size), (place, row), (shift, 0), textcoords="offset points", va="center",
                      ha="left" if known else "center", color=INK, bbox=paper, zorder=4)  # fmt: skip
    if wanted is not None:
        axes.axvline(wanted, color=GOLD, linestyle=DASHES, linewidth=1.4)
        side, shift = ("left", 5) if wanted < 0.4 * right else ("right", -5)
        axes.annotate(f"asked {_numbers.error(wanted)}", (wanted, len(parts) - 0.4), (shift, 0), ha=side, va="center",
                      textcoords="offset points", color=GOLD, fontsize=10, bbox=paper)  # fmt: skip
    axes.set_yticks(range(len(parts)), list(parts))
    axes.set_ylim(len(parts) - 0.15, -0.6)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}")
    axes.set_xlabel("error, in units of " + words_of(solution).unit + ("" if widths.ndim == 0 else ", worst point"))
    axes.set_title("Where the error comes from", loc="left", fontsize=12, color=INK, pad=10)


def _legend(axes: "Axes", below: float) -> None:
    """Below the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, frameon=False, fontsize=10, loc="upper left", bbox_to_anchor=(-0.02, below),
                    ncols=3, columnspacing=1.4, handlelength=1.6, labelcolor=INK)  # fmt: skip


def _clean(axes: "Axes") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=10, which="both")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(11)
        label.set_color(INK)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
