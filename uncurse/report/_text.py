"""A solution in words: the printed form, for terminals and notebooks."""

import math
import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _numbers

if TYPE_CHECKING:
    from .._solution import Solution
    from ..problems import Reference

WIDTH = 100
LABEL = 16
ROWS_SHOWN = 4
"""Rows at each end of the table of a solution at many points."""

# Never a stronger word than what was proved.
WORDS = {
    "unbiased": "unbiased",
    "two_sided": "two-sided",
    "upper_bound": "upper bound: only the upper end is proved",
    "lower_bound": "lower bound: only the lower end is proved",
    "estimate": "estimate: not proved",
}


@dataclass(frozen=True)
class Words:
    """What an answer is called, by the class of its problem."""

    answer: str
    without: str        # the label of the baseline
    unit: str


EQUATION = Words("u(0, x)", "without f", "u")
CONTROL = Words("least cost", "without control", "the cost")
STOPPING = Words("best value", "last date only", "the payoff")


def words_of(solution: "Solution") -> Words:
    """From the problem or, for a solution loaded without it, from its record."""
    from ..problems import ControlProblem, StoppingProblem

    kind = solution.record.get("kind")
    if isinstance(solution.problem, ControlProblem) or (solution.problem is None and kind == "control"):
        return CONTROL
    if isinstance(solution.problem, StoppingProblem) or (solution.problem is None and kind == "stopping"):
        return STOPPING
    return EQUATION


def as_text(solution: "Solution") -> str:
    """The printed form: the answer and its interval, then one labelled line for each thing worth knowing."""
    lines = list(headline(solution))
    for label, text in details(solution):
        wrapped = textwrap.wrap(text, WIDTH - LABEL - 2, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"  {label:<{LABEL}}{wrapped[0]}")
        lines += [" " * (LABEL + 2) + rest for rest in wrapped[1:]]
    return "\n".join(lines)


def as_html(solution: "Solution") -> str:
    """The printed form as a small table, for notebooks."""
    first, *table = headline(solution)
    rows = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escape(label)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for label, text in details(solution)
    )
    points = f"<pre>{escape(chr(10).join(table))}</pre>" if table else ""
    return f"<div><p><strong>{escape(first)}</strong></p>{points}<table>{rows}</table></div>"


def headline(solution: "Solution") -> list[str]:
    """The answer: one line for a point, a table for many."""
    standing = f"{_numbers.level(solution.confidence)}, {WORDS[str(solution.guarantee)]}"
    if np.ndim(solution.value) == 0:
        known = [bool(np.isfinite(x)) for x in (solution.value, solution.low, solution.high)]
        if not any(known):
            return [f"{words_of(solution).answer} is not known: no finite number came out"]
        value, low, high = _numbers.interval(float(solution.value), float(solution.low), float(solution.high))
        left, right = "[" if known[1] else "(", "]" if known[2] else ")"
        return [f"{words_of(solution).answer} = {value}  in {left}{low}, {high}{right}    {standing}"]
    return [f"{words_of(solution).answer} at {len(solution.value)} points    {standing}", *_table(solution)]


def _table(solution: "Solution") -> list[str]:
    n = len(solution.value)
    folded = n > 2 * ROWS_SHOWN + 1
    shown = [*range(ROWS_SHOWN), *range(n - ROWS_SHOWN, n)] if folded else list(range(n))
    rows = [("point", "value", "low", "high")]
    for i in shown:
        value, low, high = solution.value[i], solution.low[i], solution.high[i]
        rows.append((str(i), *_numbers.interval(float(value), float(low), float(high))))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = ["  " + "   ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if folded:
        lines.insert(1 + ROWS_SHOWN, "  " + "   ".join("...".rjust(width) for width in widths))
    return lines


def details(solution: "Solution") -> list[tuple[str, str]]:
    """Labelled lines below the answer, those without content left out."""
    rows = [
        ("half-width", _half_widths(solution)),
        ("error budget", _budget(solution)),
        (words_of(solution).without, _baseline(solution)),
        ("reference", _reference(solution)),
        ("stationarity", _stationarity(solution)),
        ("how", str(solution.stats.get("reason", ""))),
        ("result", _result(solution)),
        ("assumptions", "; ".join(solution.assumptions)),
        ("time", _time(solution)),
    ]
    return [(label, text) for label, text in rows if text]


def tolerance(solution: "Solution") -> np.ndarray | None:
    """The half-width asked for, max(atol, rtol |value|) for each point, or None if the solution does not say."""
    asked = solution.stats.get("tolerance")
    return None if asked is None else np.maximum(asked["atol"], asked["rtol"] * np.abs(solution.value))


def reference_of(solution: "Solution") -> "Reference | None":
    """The known value at the points asked for, from the problem or, for a loaded solution, from its record."""
    if solution.problem is not None:
        known = solution.problem.reference
        return known if known is not None and known.holds_at(solution.at) else None
    stored = solution.record.get("reference")
    if not isinstance(stored, dict):
        return None
    from ..problems import Reference

    return Reference(**stored)


def uncertainty(reference: "Reference") -> float:
    """Half-width within which a reference is known; infinite where it is only indicative."""
    if reference.digits == 0:
        return reference.error if reference.error > 0.0 else math.inf
    if reference.value == 0.0:
        return reference.error
    last_digit = 10.0 ** (math.floor(math.log10(abs(reference.value))) + 1 - reference.digits)
    return max(reference.error, 0.5 * last_digit if reference.digits < 15 else 0.0)


def verdict(low: float, high: float, reference: "Reference") -> str:
    """Whether a known value lies in the interval, as far as it is known itself."""
    error = uncertainty(reference)
    if math.isnan(low) or math.isnan(high) or math.isinf(error):
        return "not compared"
    below, above = reference.value - error, reference.value + error
    if low <= below and above <= high:
        return "inside"
    return "outside" if above < low or high < below else "undecided"


def _half_widths(solution: "Solution") -> str:
    if np.ndim(solution.value) == 0:
        return ""
    widths = np.asarray(solution.half_width, dtype=float)
    asked = tolerance(solution)
    if not np.isfinite(widths).all():
        count = int((~np.isfinite(widths)).sum())
        return f"unbounded or unknown at {count} of {len(widths)} points"
    excess = widths if asked is None else widths / np.maximum(asked, np.finfo(float).tiny)
    worst = int(np.argmax(excess))
    text = f"{_numbers.error(widths[worst])} at point {worst}"
    text += "" if asked is None else f", where {_numbers.error(asked[worst])} was asked"
    return f"worst {text}; median {_numbers.error(float(np.median(widths)))}"


def worst_part(part: Any) -> float:
    """A budget entry as one number: the largest over the points, NaN if it is unknown at any."""
    return float(np.max(np.asarray(part, dtype=float)))


def _budget(solution: "Solution") -> str:
    parts = {name.replace("_", " "): worst_part(part) for name, part in solution.budget.items()}
    return "   ".join(f"{name} {_numbers.error(size)}" for name, size in parts.items())


def _baseline(solution: "Solution") -> str:
    base = solution.baseline
    value, found = np.asarray(base.value, dtype=float), np.asarray(solution.value, dtype=float)
    finite = np.isfinite(value) & np.isfinite(found)
    if not finite.any():
        return "not finite" if not np.isfinite(value).any() else ""
    away = np.where(finite, np.abs(value - found), 0.0)
    share = away / np.where(found == 0.0, np.nan, np.abs(found))
    if value.ndim:
        i = int(np.argmax(away))
        return f"up to {_distance(float(away[i]), float(share[i]))} away, at point {i}"
    width = float(np.maximum(base.high - base.value, base.value - base.low))
    text = _numbers.measured(float(value), width)
    widths = np.nan_to_num([width, float(solution.half_width)], nan=0.0, posinf=0.0)
    if away <= widths.sum():
        return f"{text}, no difference within the errors"
    return f"{text}, {_distance(float(away), float(share))} away"


def _stationarity(solution: "Solution") -> str:
    """Root mean square, over dates, of the gradient of the cost in the controls where moving them could lower it."""
    size = solution.stats.get("stationarity")
    if size is None or not math.isfinite(size) or str(solution.guarantee) != "upper_bound":
        return ""
    return f"{size:.2g}: gradient of the cost in the controls, 0 where no small change lowers it; it bounds nothing"


def _distance(away: float, share: float) -> str:
    """Relative where that says something, else in units of u."""
    return _numbers.percent(share) if share < 10.0 else _numbers.error(away)


def _reference(solution: "Solution") -> str:
    reference = reference_of(solution)
    if reference is None:
        return ""
    if reference.digits == 0:
        number = f"about {reference.value:.4g}"
    else:
        number = _numbers.significant(reference.value, reference.digits)
    if np.ndim(solution.value) > 0 and np.size(solution.value) > 1:
        return f"{number} not compared: several points ({reference.origin})"
    found = verdict(float(np.ravel(solution.low)[0]), float(np.ravel(solution.high)[0]), reference)
    why = {"undecided": f": it is known to {_numbers.error(uncertainty(reference))} only"}.get(found, "")
    return f"{number} {found}{why} ({reference.origin})"


def _result(solution: "Solution") -> str:
    if solution.result.name == "tolerance_met":
        return ""
    text = solution.result.advice
    asked, widths = tolerance(solution), np.ravel(np.asarray(solution.half_width, dtype=float))
    if asked is not None and np.isfinite(widths).all() and np.isfinite(asked).all():
        worst = int(np.argmax(widths / np.maximum(np.ravel(asked), np.finfo(float).tiny)))
        got, wanted = _numbers.error(widths[worst]), _numbers.error(float(np.ravel(asked)[worst]))
        text += f" (half-width {got}, asked {wanted})"
    limiting = what_limits(solution)
    return text if limiting is None else f"{text}; what limits: {limiting}"


def what_limits(solution: "Solution") -> str | None:
    """The part of the budget that is largest; an unknown part counts as larger than any number."""
    parts = {name: worst_part(x) for name, x in solution.budget.items()}
    parts = {name: math.inf if math.isnan(x) else x for name, x in parts.items()}
    if not parts or max(parts.values()) == 0.0:
        return None
    return max(parts, key=lambda name: parts[name]).replace("_", " ")


def _time(solution: "Solution") -> str:
    spent, seed, cores = solution.timing, solution.record.get("seed"), solution.record.get("cores")
    parts = {"import": spent.imports, "compile": spent.compile, "train": spent.train, "certify": spent.certify}
    total = max(spent.total, sum(parts.values()))
    places = 0 if total >= 100.0 else 1 if total >= 1.0 else 2
    rest = total - sum(parts.values())
    if rest >= 0.05 * total and round(rest, places) > 0.0:
        parts["other"] = rest
    text = f"{total:.{places}f} s = " + " + ".join(f"{k} {x:.{places}f}" for k, x in parts.items()) if total else ""
    from_where = [] if seed is None else [f"seed {seed}"]
    from_where += [] if cores is None else [f"{cores} core{'s' if cores != 1 else ''}"]
    devices = solution.record.get("devices", 1)
    from_where += [f"{devices} devices"] if devices > 1 else []
    backend = solution.record.get("backend", "cpu")
    from_where += [] if backend == "cpu" else [solution.record.get("device", backend)]
    return "    ".join(x for x in (text, ", ".join(from_where)) if x)
