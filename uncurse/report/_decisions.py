"""Pictures of decisions: fans and paths in space under a policy, and where a rule stops."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..problems import ControlProblem, StoppingProblem
from ..surrogates import AbstractPolicy, AbstractRule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from .._simulate import Simulation, StoppedSimulation
    from .._solution import Solution

PATHS = 400             # that quantiles and points are drawn from
SHOWN = 12              # paths drawn one by one
ROWS = 3                # states or controls with a fan of their own
FINE = 400              # points across a boundary
INK, MUTED, BLUE, RED, GREEN = "#22272e", "#6b7480", "#2f6db5", "#c4453c", "#2b8a5b"
CYCLE = (BLUE, RED, GREEN, "#b07a10", "#7b4fa3", "#1b8a99", "#a3502b", "#5a6b1f", "#c25b9a", "#3c4f9e", "#8a8a8a",
         "#d08a2e")  # fmt: skip


def drawable(solution: "Solution") -> bool:
    """Whether there is a policy to run, and a problem to run it on."""
    known = isinstance(solution.problem, ControlProblem | StoppingProblem)
    return known and isinstance(solution.policy, AbstractPolicy | AbstractRule)


def draw(area: "SubFigure", solution: "Solution") -> "list[Axes]":
    """Fresh paths from the first point asked for; returns the flat axes, to be dressed like the others."""
    from .._simulate import Simulation, simulate

    problem: Any = solution.problem
    start = np.atleast_2d(solution.at)[0]
    run = simulate(problem, solution.policy, start, paths=PATHS, seed=1)
    halves = area.add_gridspec(1, 2, width_ratios=(1.15, 1.0), wspace=0.03)
    left, right = area.add_subfigure(halves[0]), area.add_subfigure(halves[1])
    if isinstance(run, Simulation):
        controls = _fans(right, run.time[:-1], run.control, "a", "Controls", True, run.invalid)
        if problem.positions is not None:
            _draw_space(left, run, problem.positions)
            return controls
        return [*_fans(left, run.time, run.state, "x", "States", False, run.invalid), *controls]
    axes = [left.add_subplot(), right.add_subplot()]
    if problem.dim == 1:
        _draw_boundary(axes[0], solution, run)
    else:
        _draw_region(axes[0], problem, run)
    _draw_when(axes[1], run)
    return axes


def _fans(
    area: "SubFigure", time: Float[np.ndarray, " n"], values: Float[np.ndarray, "paths n k"], letter: str, title: str,
    held: bool, invalid: int,
) -> "list[Axes]":
    """Median and 5-95 % of the entries that move most, one above the other."""
    finite = values[np.isfinite(values).all(axis=(1, 2))]
    if len(finite) == 0:
        axes = area.add_subplot()
        axes.set_title(f"{title}: no path is finite", loc="left", fontsize=12, color=INK, pad=10)
        return [axes]
    low, middle, high = np.quantile(finite, (0.05, 0.5, 0.95), axis=0)
    chosen = np.sort(np.argsort(-(high.max(axis=0) - low.min(axis=0)), kind="stable")[:ROWS])
    rows = area.add_gridspec(len(chosen), 1, hspace=0.06)
    drawn = []
    for row, (i, colour) in enumerate(zip(chosen, CYCLE, strict=False)):
        axes = area.add_subplot(rows[row], sharex=drawn[0] if drawn else None)
        if held:        # the last control holds until the end
            t = np.append(time, 2 * time[-1] - time[-2] if len(time) > 1 else 1.0)
            a, b, c = (np.append(q[:, i], q[-1, i]) for q in (low, middle, high))
            axes.fill_between(t, a, c, step="post", color=colour, alpha=0.25, linewidth=0)
            axes.step(t, b, where="post", color=colour, linewidth=1.6)
        else:
            axes.fill_between(time, low[:, i], high[:, i], color=colour, alpha=0.25, linewidth=0)
            axes.plot(time, middle[:, i], color=colour, linewidth=1.6)
        axes.set_ylabel(f"{letter}[{i}]")
        axes.tick_params(labelbottom=row == len(chosen) - 1)
        axes.locator_params(axis="y", nbins=4)
        drawn.append(axes)
    which = "" if values.shape[2] <= ROWS else f" ({len(chosen)} of {values.shape[2]})"
    lost = "" if not invalid else f"; {invalid} of {len(values)} paths are not finite"
    drawn[0].set_title(f"{title}{which}: median, 5-95 %{lost}", loc="left", fontsize=12, color=INK, pad=10)
    drawn[-1].set_xlabel("time")
    return drawn


def _draw_space(area: "SubFigure", run: "Simulation", positions: tuple[tuple[int, int, int], ...]) -> None:
    """Paths of each vehicle in space, the same scale along all axes."""
    axes: Any = area.add_subplot(projection="3d")
    finite = run.state[np.isfinite(run.state).all(axis=(1, 2))]
    for k, triple in enumerate(positions):
        colour, p = CYCLE[k % len(CYCLE)], finite[:, :, list(triple)]
        for path in p[:SHOWN]:
            axes.plot(*path.T, color=colour, linewidth=0.6, alpha=0.35)
        middle = np.median(p, axis=0)
        axes.plot(*middle.T, color=colour, linewidth=2.0)
        axes.scatter(*middle[0], color=colour, s=14, marker="s", depthshade=False)
        axes.scatter(*middle[-1], color=colour, s=34, edgecolors=INK, linewidths=0.6, depthshade=False)
    flat = finite[:, :, [i for triple in positions for i in triple]].reshape(-1, 3)
    low, high = flat.min(axis=0), flat.max(axis=0)
    reach = np.maximum(high - low, 0.15 * (high - low).max())
    centre = (low + high) / 2
    for name, c, r in zip("xyz", centre, reach, strict=True):
        getattr(axes, f"set_{name}lim")(c - 0.55 * r, c + 0.55 * r)
        getattr(axes, f"{name}axis").set_pane_color((1.0, 1.0, 1.0, 0.0))
        getattr(axes, f"set_{name}label")(name, fontsize=11, color=INK)
    axes.set_box_aspect(reach, zoom=0.92)
    axes.locator_params(nbins=5)
    axes.tick_params(colors=INK, labelsize=9)
    axes.view_init(elev=28, azim=-58)
    axes.set_title(f"Paths in space: median and {SHOWN} runs; squares start, discs end", loc="left", fontsize=12,
                   color=INK, pad=10)  # fmt: skip


def _draw_boundary(axes: "Axes", solution: "Solution", run: "StoppedSimulation") -> None:
    """Where the rule stops, date by date, with a few paths up to where they stop."""
    x = run.state[..., 0][np.isfinite(run.state[..., 0]).all(axis=1)]
    low, high = np.quantile(x, (0.002, 0.998))
    grid = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), FINE)
    policy: Any = solution.policy
    stops = np.stack([np.asarray(policy(np.full(FINE, t), grid[:, None])) for t in run.time[:-1]] or [np.ones(FINE)])
    width = np.min(np.diff(run.time)) if len(run.time) > 1 else 1.0
    axes.set_ylim(grid[0], grid[-1])
    for t, region in zip(run.time, stops, strict=False):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], region.astype(bool), [False]]).astype(int)))
        for a, b in edges.reshape(-1, 2):
            around = [t - 0.42 * width, t + 0.42 * width]
            axes.fill_between(around, grid[a], grid[min(b, FINE - 1)], color=RED, alpha=0.25, linewidth=0)
    for path, k in list(zip(x, run.stopped, strict=False))[: 2 * SHOWN]:
        axes.plot(run.time[: k + 1], path[: k + 1], color=MUTED, linewidth=0.8, alpha=0.7)
        axes.plot(run.time[k], path[k], "o", color=INK, markersize=3)
    axes.set_xlabel("time")
    axes.set_ylabel("x")
    title = f"Where the rule stops, with {2 * SHOWN} paths; at the last date all do"
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=10)


def _draw_region(axes: "Axes", problem: StoppingProblem, run: "StoppedSimulation") -> None:
    """Points that arrive at a date in the middle and stop, or go on."""
    last = len(run.time) - 1
    counts = np.bincount(run.stopped, minlength=last + 1)[:last]
    possible = [k for k in range(last) if 0 < counts[k] < np.sum(run.stopped >= k)] or [last]
    k = min(possible, key=lambda k: abs(k - last / 2))
    here = run.stopped >= k
    x, stopped = run.state[here, k], run.stopped[here] == k
    if symmetric(problem, run.time[k], x):
        ranked = np.sort(x, axis=1)
        ends = {"largest": ranked[:, :-3:-1], "smallest": ranked[:, :2]}
        name = max(ends, key=lambda end: _apart(ends[end][:, 0], stopped))
        points, words = ends[name], (f"{name} coordinate", f"second {name}")
    else:
        i, j = np.sort(np.argsort(-x.std(axis=0), kind="stable")[:2])
        points, words = x[:, [i, j]], (f"x[{i}]", f"x[{j}]")
    for chosen, colour, label in ((~stopped, BLUE, "goes on"), (stopped, RED, "stops")):
        axes.plot(*points[chosen].T, "o", color=colour, markersize=3.5, alpha=0.65, label=label, markeredgewidth=0)
    axes.legend(frameon=False, fontsize=10, loc="upper left")
    axes.set_xlabel(words[0])
    axes.set_ylabel(words[1])
    title = f"Paths not yet stopped at date {k} of 0 to {last}, t = {run.time[k]:.3g}"
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=10)


def _apart(x: Float[np.ndarray, " n"], stopped: Bool[np.ndarray, " n"]) -> float:
    """How well one number tells points that stop from points that go on: distance of the means, over the spread."""
    if stopped.all() or not stopped.any():
        return 0.0
    return float(abs(x[stopped].mean() - x[~stopped].mean()) / max(x.std(), 1e-30))


def symmetric(problem: StoppingProblem, t: float, x: Float[np.ndarray, "n d"]) -> bool:
    """Whether the payoff takes the same values when coordinates trade places, at some points."""
    one = jax.vmap(lambda x: problem.payoff(jnp.float32(t), x))
    swapped = np.roll(x[:, np.random.default_rng(0).permutation(x.shape[1])], 1, axis=1)
    return bool(np.allclose(one(x), one(swapped), rtol=1e-4, atol=1e-5))


def _draw_when(axes: "Axes", run: "StoppedSimulation") -> None:
    """How many paths stop at each date."""
    share = np.bincount(run.stopped, minlength=len(run.time)) / len(run.stopped)
    width = 0.8 * np.min(np.diff(run.time)) if len(run.time) > 1 else 0.5
    axes.bar(run.time, 100 * share, width=width, color=BLUE, alpha=0.85)
    axes.set_xlabel("time")
    axes.set_ylabel("paths that stop, %")
    lost = "" if not run.invalid else f"; {run.invalid} of {len(run.stopped)} paths are not finite"
    axes.set_title(f"When the rule stops{lost}", loc="left", fontsize=12, color=INK, pad=10)
