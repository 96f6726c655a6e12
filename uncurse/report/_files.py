"""Solutions on disk: one line of JSON that anyone can read, then the arrays of the field. No pickle."""

import dataclasses
import io
import json
import math
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._text import reference_of

if TYPE_CHECKING:
    from .._solution import Solution
    from ..problems import Problem

FORMAT, WITH_POLICY = 1, 2     # files without a policy stay readable for versions that know of none
MAGIC = b'{"uncurse-solution":'
COPIED = ("value", "low", "high", "confidence", "at", "budget", "stats")
ARRAY, NUMBER = "$array", "$number"


class UnavailableField:
    """Stands in for a field or a policy that a file could not give back; says why when it is used."""

    def __init__(self, why: str):
        self._why = why

    def __call__(self, t: Any, x: Any) -> Any:
        raise RuntimeError(self._why)

    def grad(self, t: Any, x: Any) -> Any:
        raise RuntimeError(self._why)

    def __repr__(self) -> str:
        return f"<not available: {self._why}>"


def save(solution: "Solution", path: Any) -> None:
    """Write everything but the problem's functions to `path`, whole or not at all.

    Raises:
        TypeError: the record or the statistics hold what is neither a number, text, list, dictionary nor array.
        OSError: the folder is missing or cannot be written to.
    """
    import equinox as eqx

    path = Path(path)
    parts, leaves = {}, b""
    for name in ("field", "policy"):
        function, payload = getattr(solution, name), io.BytesIO()
        parts[name] = None
        if function is not None and not isinstance(function, UnavailableField):
            eqx.tree_serialise_leaves(payload, function)
            part = payload.getvalue()
            parts[name] = {"bytes": len(part), "crc32": zlib.crc32(part)}
            leaves += part
    if parts["policy"] is None:
        del parts["policy"]
    header = {
        "uncurse-solution": WITH_POLICY if "policy" in parts else FORMAT, "solution": _header(solution), **parts
    }
    line = json.dumps(header, allow_nan=False).encode() + b"\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to save {path.name!r} in")
    try:
        with partial.open("xb") as file:
            file.write(line)
            file.write(leaves)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Any, problem: "Problem | None" = None) -> "Solution":
    """Read what `save` wrote.

    Args:
        path: the file.
        problem: the problem that was solved; needed to bring field and policy back, unless it came from the zoo.

    Returns:
        The solution, number for number. Where field or policy cannot be rebuilt, using it raises an error that
        says why.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of ours, a newer format, damaged, or one that does not fit `problem`.
    """
    path = Path(path)
    header, leaves = _read(path)
    stored = {name: _decoded(item) for name, item in header["solution"].items()}
    known, why = problem, ""
    if leaves and problem is None:
        known, why = _from_zoo(stored["record"])
    functions = {}
    for name, part in leaves.items():
        missing = UnavailableField(why)
        functions[name] = missing if known is None else _function(path, name, part, known, stored["record"])
    return _solution(path, stored, known, functions)


def _header(solution: "Solution") -> dict[str, Any]:
    """Every field of the solution but the functions, in plain JSON."""
    reference = reference_of(solution)
    record = dict(solution.record)
    if reference is not None:
        record["reference"] = dataclasses.asdict(dataclasses.replace(reference, at=None))
    if solution.problem is not None:
        record |= {"problem": solution.problem.name, "dim": solution.problem.dim}
    whole = {
        **{name: getattr(solution, name) for name in COPIED},
        "guarantee": str(solution.guarantee),
        "result": solution.result.name,
        "assumptions": list(solution.assumptions),
        "baseline": {name: getattr(solution.baseline, name) for name in ("value", "low", "high")},
        "timing": dataclasses.asdict(solution.timing),
        "history": [{name: getattr(s, name) for name in ("seconds", "low", "high", "stage")} for s in solution.history],
        "record": record,
    }
    return {name: _encoded(item, name) for name, item in whole.items()}


def _encoded(item: Any, where: str) -> Any:
    """`item` in strict JSON: arrays and numbers that JSON lacks become small tagged dictionaries."""
    import jax

    if isinstance(item, np.generic):
        item = item.item()
    if item is None or isinstance(item, bool | int | str):
        return item
    if isinstance(item, float):
        return item if math.isfinite(item) else {NUMBER: str(item)}
    if isinstance(item, dict):
        wrong = [key for key in item if not isinstance(key, str) or key in (ARRAY, NUMBER)]
        if wrong:
            raise TypeError(f"{where} cannot be saved: keys must be text; got {wrong[0]!r}")
        return {key: _encoded(x, f"{where}[{key!r}]") for key, x in item.items()}
    if isinstance(item, list | tuple):
        return [_encoded(x, f"{where}[{i}]") for i, x in enumerate(item)]
    array = np.asarray(item) if isinstance(item, np.ndarray | jax.Array) else None
    if array is None or array.dtype.kind not in "biuf":
        raise TypeError(f"{where} cannot be saved: it is {item!r} of type {type(item).__name__}")
    flat = [_encoded(x, where) for x in array.ravel().tolist()]
    return {ARRAY: flat, "shape": list(array.shape), "dtype": array.dtype.name}


def _decoded(item: Any) -> Any:
    if isinstance(item, list):
        return [_decoded(x) for x in item]
    if not isinstance(item, dict):
        return item
    if NUMBER in item:
        return float(item[NUMBER])
    if ARRAY in item:
        return np.array(_decoded(item[ARRAY]), dtype=item["dtype"]).reshape(item["shape"])
    return {key: _decoded(x) for key, x in item.items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The header, and the arrays of what the file holds: "field", "policy", both or neither."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        if start != MAGIC:
            raise ValueError(f"{path} is not a solution saved by uncurse")
        line = start + file.readline()
        leaves = file.read()
    damaged = f"{path} is damaged or incomplete"
    try:
        header = json.loads(line) if line.endswith(b"\n") else None
    except json.JSONDecodeError as error:
        raise ValueError(f"{damaged}: {error}") from error
    if header is None:
        raise ValueError(f"{damaged}: its header has no end")
    if not isinstance(header["uncurse-solution"], int) or header["uncurse-solution"] > WITH_POLICY:
        version = header["uncurse-solution"]
        raise ValueError(f"{path} has format {version}, but this uncurse reads up to {WITH_POLICY}: upgrade uncurse")
    if not isinstance(header.get("solution"), dict) or "field" not in header:
        raise ValueError(f"{damaged}: its header lacks a part")
    stated = {name: header[name] for name in ("field", "policy") if header.get(name)}
    total, parts, begin = sum(part["bytes"] for part in stated.values()), {}, 0
    if len(leaves) != total:
        raise ValueError(f"{damaged}: {len(leaves)} bytes of arrays where {total} were written")
    for name, part in stated.items():
        parts[name] = leaves[begin : begin + part["bytes"]]
        begin += part["bytes"]
        if zlib.crc32(parts[name]) != part["crc32"]:
            raise ValueError(f"{damaged}: the checksum of its arrays is wrong")
    return header, parts


def _from_zoo(record: dict[str, Any]) -> "tuple[Problem | None, str]":
    """The problem that a zoo entry in the record names, or why there is none."""
    entry = record.get("zoo")
    if entry is None:
        return None, "the file holds arrays but not the problem's functions: uc.load(path, problem=...)"
    from .. import zoo

    try:
        return zoo.get(entry["name"], **entry["parameters"]).problem, ""
    except (KeyError, TypeError, ValueError) as error:
        return None, f"the zoo case of this file could not be rebuilt ({error}): uc.load(path, problem=...)"


def _function(path: Path, name: str, leaves: bytes, problem: "Problem", record: dict[str, Any]) -> Any:
    """The field or the policy of a file."""
    import equinox as eqx

    from ..methods import skeleton
    from ..surrogates import UnknownClassError

    dim = record.get("dim", problem.dim)
    if dim != problem.dim:
        raise ValueError(f"{path} was solved in {dim} dimensions, but problem has {problem.dim}")
    recipe = record.get({"field": "surrogate"}.get(name, name))
    if recipe is None:
        raise ValueError(f"{path} does not say which {name} its arrays belong to")
    stream = io.BytesIO(leaves)
    try:
        function = eqx.tree_deserialise_leaves(stream, skeleton(problem, recipe))
    except UnknownClassError as error:      # one of the user's own, or of another version: the numbers are still good
        return UnavailableField(f"the {name} saved in {path} cannot be rebuilt: {error}")
    except (RuntimeError, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"the {name} saved in {path} does not fit this problem: {error}") from error
    if stream.read(1):
        raise ValueError(f"the {name} saved in {path} does not fit this problem: it has arrays to spare")
    return function


def _solution(
    path: Path, stored: dict[str, Any], problem: "Problem | None", functions: dict[str, Any]
) -> "Solution":
    from .._solution import Estimate, Guarantee, Result, Snapshot, Solution, Timing

    try:
        converted = {
            **{name: stored[name] for name in (*COPIED, "record")},
            "guarantee": Guarantee(stored["guarantee"]),
            "result": Result[stored["result"]],
            "assumptions": tuple(stored["assumptions"]),
            "baseline": Estimate(**stored["baseline"]),
            "timing": Timing(**stored["timing"]),
            "history": tuple(Snapshot(**entry) for entry in stored["history"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__} {error}") from error
    return Solution(**converted, problem=problem, **functions)
