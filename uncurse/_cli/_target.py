"""What the user named: a case of the zoo, or an object in a file of theirs."""

import difflib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ..problems import Problem

# What a file of the user's can be expected to raise: reported with its line, not as a traceback of ours.
USER_ERRORS = (
    SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError,
    RuntimeError, AssertionError, OSError,
)  # fmt: skip


class BadInputError(Exception):
    """The command cannot be obeyed as given: its message is all that the user sees, and the exit status is 2."""


@dataclass(frozen=True)
class Stated:
    """An equation to solve, where it is asked for (None: not said), and how to find it again in the zoo."""

    problem: "Problem"
    at: "np.ndarray | None"
    zoo: dict[str, Any] | None = None


@dataclass(frozen=True)
class Target:
    """A name that was found. `make` builds the equation from the options in `parameters`."""

    name: str
    make: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]
    doc: str
    in_zoo: bool

    def build(self, **options: Any) -> Stated:
        """The equation, with `options` in place of the defaults."""
        from ..problems import Problem

        try:
            made = self.make(**options)
        except USER_ERRORS as error:
            if self.in_zoo and not isinstance(error, TypeError | ValueError):
                raise
            where = "" if self.in_zoo else f" failed{_line(error, Path(self.name.rpartition(':')[0]))}"
            raise BadInputError(f"{self.name}{where}: {error}") from error
        if is_case(made):
            stored = {"name": made.name, "parameters": dict(made.parameters)} if self.in_zoo else None
            return Stated(made.problem, made.at, stored)
        if isinstance(made, Problem):
            return Stated(made, None)
        raise BadInputError(f"{self.name} must give an equation, a decision problem or a zoo case; it gave {made!r}")

    def equation(self) -> str:
        """First line of its documentation."""
        return self.doc.partition("\n")[0].strip()

    def help_of(self, parameter: str) -> str:
        """What the documentation says of a parameter, in one line."""
        words: list[str] = []
        for line in self.doc.splitlines():
            stripped = line.strip()
            if words and (not stripped or _starts_entry(stripped)):
                break
            if words or stripped.startswith(f"{parameter}:"):
                words.append(stripped.removeprefix(f"{parameter}:").strip())
        return " ".join(words)


def _starts_entry(line: str) -> bool:
    return line.partition(":")[0].isidentifier() and ":" in line


def kind_of(parameter: inspect.Parameter) -> type:
    """int, float, bool or str: from the annotation where it says, else from the default."""
    annotation = parameter.annotation
    choices = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    for kind in (float, int, bool, str):
        if kind in choices or kind.__name__ in choices:
            return kind
    return type(parameter.default) if type(parameter.default) in (bool, int, float) else str


def find(name: str) -> Target:
    """The zoo case or the object in a file that `name` stands for."""
    if ":" in name or name.endswith(".py"):
        return _in_file(name)
    from .. import zoo

    key = name.replace("_", "-")
    if key not in zoo.cases:
        near = difflib.get_close_matches(key, zoo.cases, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BadInputError(
            f"there is no zoo case {name!r}{hint}\n"
            f"The zoo has {', '.join(zoo.cases)}. For an equation of your own: file.py:object"
        )
    return _from_function(key, zoo.cases[key], in_zoo=True)


def _from_function(name: str, function: Callable[..., Any], *, in_zoo: bool) -> Target:
    listed = inspect.signature(function).parameters.values()
    parameters = tuple(p for p in listed if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    needed = [p.name for p in parameters if p.default is p.empty]
    if needed:
        raise BadInputError(f"{name} cannot be called without arguments: it needs {', '.join(needed)}")
    return Target(name, function, parameters, inspect.getdoc(function) or "", in_zoo)


def _in_file(name: str) -> Target:
    path, _, attribute = name.rpartition(":")
    if not path:
        path, attribute = attribute, ""
    if not Path(path).is_file():
        raise BadInputError(f"there is no file {path!r}")
    module = _execute(Path(path))
    found = _candidates(module)
    nothing = "it has no equation, decision problem, zoo case or function without arguments"
    listed = f"it has {', '.join(found)}" if found else nothing
    if not attribute:
        raise BadInputError(f"say which object of {path} to solve, as {path}:object; {listed}")
    if attribute not in vars(module):
        near = difflib.get_close_matches(attribute, found, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BadInputError(f"{path} has no object {attribute!r}; {hint}{listed}")
    thing = vars(module)[attribute]
    if attribute not in found:
        raise BadInputError(f"{name} is {thing!r}, not an equation; {listed}")
    if callable(thing):
        return _from_function(name, thing, in_zoo=False)
    return Target(name, lambda: thing, (), "", in_zoo=False)


def _execute(path: Path) -> types.ModuleType:
    """Run a file as a module, with its folder importable as Python itself would have it."""
    spec = importlib.util.spec_from_file_location(f"uncurse_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadInputError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module     # dataclasses and type checkers look their module up by name
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except USER_ERRORS as error:
        where = _line(error, path)
        raise BadInputError(f"{path} failed when it was read{where}: {type(error).__name__}: {error}") from error
    return module


def _line(error: BaseException, path: Path) -> str:
    """The last line of the user's file on the way to the error."""
    number, step = None, error.__traceback__
    while step is not None:
        if Path(step.tb_frame.f_code.co_filename) == path.absolute() or step.tb_frame.f_code.co_filename == str(path):
            number = step.tb_lineno
        step = step.tb_next
    return "" if number is None else f", in line {number}"


def is_case(thing: Any) -> bool:
    """A case is an equation with the point where it is asked for."""
    from ..problems import Problem

    return isinstance(getattr(thing, "problem", None), Problem) and getattr(thing, "at", None) is not None


def _candidates(module: types.ModuleType) -> list[str]:
    """Names of what can be solved: equations, cases, and functions of the file that need no arguments."""
    from ..problems import Problem

    def fits(thing: Any) -> bool:
        if isinstance(thing, Problem) or is_case(thing):
            return True
        if not inspect.isfunction(thing) or thing.__module__ != module.__name__:
            return False
        return all(p.default is not p.empty for p in inspect.signature(thing).parameters.values())

    return [name for name, thing in vars(module).items() if not name.startswith("_") and fits(thing)]


def points(text: str | None, stated: Stated) -> "np.ndarray":
    """Where to solve: `--at` as one number for all coordinates, a comma-separated list or a .npy file."""
    import numpy as np

    from .. import _checks

    dim = stated.problem.dim
    if text is None:
        if stated.at is None:
            raise BadInputError("say where to solve, for instance --at 0 for the point with all coordinates 0")
        return np.asarray(stated.at)
    try:
        if text.endswith(".npy"):
            return _checks.points(np.load(text, allow_pickle=False), dim)
        numbers = [float(word) for word in text.split(",")]
        return _checks.points(np.full(dim, numbers[0]) if len(numbers) == 1 else np.array(numbers), dim)
    except OSError as error:
        raise BadInputError(f"--at {text}: {error.strerror or error}") from error
    except (TypeError, ValueError, EOFError) as error:
        forms = "one number for all coordinates, a comma-separated list or a .npy file"
        raise BadInputError(f"--at {text}: expected {forms}: {error}") from error
