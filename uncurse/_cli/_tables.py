"""`uncurse zoo` and `uncurse ladder`: what there is to solve, and how an answer moves with one parameter."""

import argparse
import contextlib
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report import _numbers
from ..report._text import verdict
from ._clock import since_start
from ._parser import convert, parameters
from ._run import as_json, solve, status
from ._target import BadInputError, Target, find

if TYPE_CHECKING:
    from .._solution import Solution

WIDTH = 100
DIMS = "10,100,1000"
STRENGTHS = "1,10,20"


def run_zoo() -> int:
    """Print every case: equation, options with their defaults, reference."""
    from .. import zoo

    for name in zoo.cases:
        print("\n".join(_entry(find(name))))
    print("\nSolve one with its options: uncurse solve hjb --dim 1000 --strength 10; uncurse solve hjb --help")
    return 0


def _entry(target: Target) -> list[str]:
    case = target.make()
    reference = case.problem.reference
    if reference is None:
        known = f"reference {case.origin or 'unknown'}"
    else:
        digits = reference.digits
        number = _numbers.significant(reference.value, digits) if digits else f"about {reference.value:.4g}"
        known = f"reference {number} ({reference.origin})"
    listed = " ".join(f"--{p.name.replace('_', '-')} {p.default}" for p in target.parameters)
    indent = " " * 4
    form = {"width": WIDTH, "initial_indent": indent, "break_on_hyphens": False}
    equation = textwrap.wrap(target.equation(), subsequent_indent=2 * indent, **form)
    rest = [line for text in (known, listed) for line in textwrap.wrap(text, subsequent_indent=indent, **form)]
    return [target.name, *equation, *rest]


def run_ladder(options: argparse.Namespace, target: Target) -> int:
    """Solve at each rung and print its row as soon as it is known."""
    name, rungs = _rungs(options.vary, target)
    fixed = {key: value for key, value in parameters(options).items() if key != name}
    found: list[dict[str, Any]] = []
    met, since = True, 0.0
    columns = (name, "value", "low", "high", "reference", "", "seconds", "result")
    widths = (max(len(name), 10), 12, 12, 12, 14, 9, 8, 0)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        print(_row(columns, widths), flush=True)
        for rung in rungs:
            solution = solve(target.build(**fixed, **{name: rung}), options, since=since)
            since = since_start()       # the first rung pays for the imports
            found.append({name: rung, **as_json(solution)})
            last = (f"{solution.timing.total:.1f}", solution.result.name)
            print(_row((str(rung), *_cells(solution), *last), widths), flush=True)
            met = met and status(solution) == 0
            if solution.result.name == "interrupted":
                break
    if options.json:
        print(json.dumps({"rungs": found}, allow_nan=False))
    return 0 if met else 1


def _rungs(vary: str | None, target: Target) -> tuple[str, list[Any]]:
    names = [p.name for p in target.parameters]
    if vary is None:
        if "strength" not in names and "dim" not in names:
            raise BadInputError(f"{target.name} has neither a strength nor a dim: say --vary PARAMETER=A,B,...")
        vary = f"strength={STRENGTHS}" if "strength" in names else f"dim={DIMS}"
    name, _, values = vary.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if name not in names or not values:
        have = f"it has {', '.join(names)}" if names else "it has none"
        raise BadInputError(f"--vary {vary}: expected PARAMETER=A,B,... with a parameter of {target.name}; {have}")
    try:
        return name, [convert(target, name, value.strip()) for value in values.split(",")]
    except argparse.ArgumentTypeError as error:
        raise BadInputError(f"--vary {vary}: each value {error}") from error


def _cells(solution: "Solution") -> Iterator[str]:
    """Value, ends, reference, and whether it is inside."""
    ends = (float(np.ravel(x)[0]) for x in (solution.value, solution.low, solution.high))
    value, low, high = ends
    yield from _numbers.interval(value, low, high)
    reference = None if solution.problem is None else solution.problem.reference
    if reference is None:
        yield from ("", "")
    else:
        yield _numbers.significant(reference.value, min(max(reference.digits, 4), 12))
        yield verdict(low, high, reference)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) if width else cell for cell, width in zip(cells, widths, strict=True)).rstrip()
