"""The command line's grammar.

argparse, not tyro: the options of `solve` depend on the case named before them, so that a parser is built twice in any
event, and for that the standard library needs no dependency and a quarter of the time (16 ms to import, tyro 63 ms).
"""

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ._target import Target, find, kind_of

COMMANDS = ("solve", "zoo", "ladder", "bench")

Converter = Callable[[str], float]

FLAGS = ("--json", "--quiet", "--cache", "--help", "-h")
"""Options without a value: all others take the word after them."""

PREFIX = "parameter "
"""Marks a case's own parameters among the parsed options, so that none can hide an option of ours."""


class Parser(argparse.ArgumentParser):
    """argparse, with the nearest option named when one is misspelt."""

    def __init__(self, **settings: Any):
        super().__init__(allow_abbrev=False, formatter_class=_form, **settings)

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            near = difflib.get_close_matches(unknown[1], self._option_string_actions, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            message = f"there is no option {unknown[1]}{hint}"
        self.exit(2, f"{self.prog}: {message}\nSee {self.prog} --help\n")


def _form(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=100)


def version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Target | None]:
    """Options of a command line, and the target that it names, if any."""
    words = _glued(argv)
    command = words[0] if words else ""
    if command not in COMMANDS:
        if not command or command.startswith("-"):
            _top().parse_args(words)
            _top().error(f"say what to do: {', '.join(COMMANDS)}")
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        _top().error(f"there is no command {command!r}" + (f"; did you mean {near[0]}?" if near else ""))
    name = _first_name(words[1:]) if command in ("solve", "ladder") else None
    target = None if name is None else find(name)
    parser = {"solve": _solve, "ladder": _ladder, "bench": _bench, "zoo": _zoo}[command](target)
    options = parser.parse_args(words[1:])
    options.command = command
    if command != "zoo" and options.rtol == 0.0 and getattr(options, "atol", 0.0) == 0.0:
        parser.error("--rtol 0 needs an --atol above 0")
    return options, target


def parse_machine(argv: Sequence[str]) -> argparse.Namespace:
    """The options that must be obeyed before JAX starts: a user's file, which `parse` runs, may start it."""
    parser = Parser(prog="uncurse", add_help=False)
    if argv and argv[0] in ("solve", "ladder"):
        _add_machine(parser, processes=argv[0] == "solve")
    return parser.parse_known_args(_glued(argv))[0]


def parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The case's own parameters that the user set."""
    given = {key.removeprefix(PREFIX): value for key, value in vars(options).items() if key.startswith(PREFIX)}
    return {key: value for key, value in given.items() if value is not None}


def _glued(argv: Sequence[str]) -> list[str]:
    """Negative values joined to their option: argparse would take `--at -1,2` for two options."""
    words: list[str] = []
    for word in argv:
        if words and re.fullmatch(r"--[\w-]+", words[-1]) and words[-1] not in FLAGS and re.match(r"-[\d.]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _first_name(words: Sequence[str]) -> str | None:
    """The first word that is neither an option nor the value of one."""
    value_next = False
    for word in words:
        if value_next:
            value_next = False
        elif word.startswith("-"):
            value_next = "=" not in word and word not in FLAGS
        else:
            return word
    return None


def _number(kind: type[int] | type[float], low: float, high: float, words: str, *, closed: bool = False) -> Converter:
    """A type for argparse: a number within limits, or a message that says which."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (low < value < high or (closed and value == low)):
            raise argparse.ArgumentTypeError(f"must be {words}; got {text}")
        return value

    return convert


INF = float("inf")
NOT_NEGATIVE = _number(float, 0.0, INF, "a number, at least 0", closed=True)
POSITIVE = _number(float, 0.0, INF, "a number above 0")
SHARE = _number(float, 0.0, 1.0, "a number between 0 and 1, such as 0.99")
WHOLE = _number(int, 0, INF, "a whole number, at least 0", closed=True)


def convert(target: Target, name: str, text: str) -> Any:
    """A case's parameter from text, as its annotation or default says."""
    parameter = next(p for p in target.parameters if p.name == name)
    kind = kind_of(parameter)
    option = f"--{name.replace('_', '-')}"
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise argparse.ArgumentTypeError(f"{option} must be true or false; got {text}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"must be {what}; got {text}") from None


def _top() -> Parser:
    parser = Parser(
        prog="uncurse", usage="uncurse {solve,zoo,ladder,bench} ...",
        description="Solve equations in hundreds of dimensions, with an interval that can be checked.",
        epilog=(
            "commands:\n"
            "  solve NAME    solve a case of the zoo, or an equation of your own (file.py:object)\n"
            "  zoo           list the cases: equation, size, reference, options\n"
            "  ladder NAME   solve a case at a ladder of sizes or strengths, one row a rung\n"
            "  bench         solve many cases, each in a fresh process: times and memory in a table\n\n"
            "Each has --help. For a start: uncurse solve hjb"
        ),
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"uncurse {version_of('uncurse')}")
    return parser


def _solve(target: Target | None) -> Parser:
    parser = Parser(
        prog="uncurse solve", usage=_usage("solve", target), description=_about(target),
        epilog="exit status: 0 tolerance met, 1 not met (the best honest interval is printed), 2 bad input",
    )  # fmt: skip
    _add_name(parser, target)
    _add_parameters(parser, target)
    _add_accuracy(parser)
    where = parser.add_argument_group("the point")
    forms = "one number for all coordinates, a comma-separated list, or a .npy file of shape (d,) or (n, d)"
    where.add_argument("--at", metavar="X", help=f"{forms}; a zoo case knows its own")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object on standard output, words elsewhere")
    output.add_argument("--plot", metavar="FILE", help="draw the run: .png, .pdf or .svg (needs uncurse[plot])")
    output.add_argument("--save", metavar="FILE", help="keep the solution; uncurse.load(FILE) reads it back")
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")
    _add_machine(parser, processes=True)
    return parser


def _ladder(target: Target | None) -> Parser:
    parser = Parser(
        prog="uncurse ladder", usage=_usage("ladder", target),
        description=_about(target) if target else "Solve a case for several values of one parameter, one row a rung.",
        epilog="exit status: 0 tolerance met on every rung, 1 not, 2 bad input",
    )  # fmt: skip
    _add_name(parser, target)
    parser.add_argument("--vary", metavar="PARAMETER=A,B,...", help="the rungs, for instance dim=10,100,1000; "
                        "default: strength=1,10,20 where the case has a strength, else dim=10,100,1000")  # fmt: skip
    _add_parameters(parser, target)
    _add_accuracy(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, with a list of rungs")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    _add_machine(parser, processes=False)
    return parser


def _bench(_: Target | None) -> Parser:
    parser = Parser(
        prog="uncurse bench",
        description="Solve each case in a process of its own and print a table: interval, reference, seconds, memory.",
        epilog='A case may carry options: uncurse bench allen-cahn "hjb --strength 10"',
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: the whole zoo, and the strong rungs of hjb")
    _add_accuracy(parser)
    parser.add_argument("--write", metavar="FILE", help="also write the table, as .md or .json")
    return parser


def _zoo(_: Target | None) -> Parser:
    return Parser(prog="uncurse zoo", description="List the cases of the zoo: equation, reference, options.")


def _usage(command: str, target: Target | None) -> str:
    return f"uncurse {command} {target.name if target else 'NAME'} [options]"


def _about(target: Target | None) -> str:
    if target is None:
        return (
            "Solve one equation to a tolerance.\n\n"
            "NAME is a case of the zoo, whose own parameters are options too:\n"
            "  uncurse solve hjb --strength 10        (uncurse zoo lists them; uncurse solve hjb --help)\n"
            "or an equation of yours, a ParabolicPDE or a function that returns one:\n"
            "  uncurse solve file.py:object --at 0"
        )
    return target.doc.partition("\n\n")[0] or f"Solve {target.name} to a tolerance."


def _add_name(parser: Parser, target: Target | None) -> None:
    text = argparse.SUPPRESS if target else "a zoo case, or file.py:object"
    parser.add_argument("name", metavar="NAME", help=text)


def _add_parameters(parser: Parser, target: Target | None) -> None:
    if target is None or not target.parameters:
        return
    group = parser.add_argument_group(f"parameters of {target.name}")
    for parameter in target.parameters:
        text = f"{target.help_of(parameter.name).rstrip('.')} (default {parameter.default})".strip().replace("%", "%%")
        group.add_argument(
            f"--{parameter.name.replace('_', '-')}", dest=PREFIX + parameter.name, help=text,
            metavar={int: "N", float: "NUMBER", bool: "true|false"}.get(kind_of(parameter), "WORD"),
            type=lambda word, name=parameter.name: convert(target, name, word),
        )  # fmt: skip


def _add_accuracy(parser: Parser) -> None:
    add = parser.add_argument_group("accuracy and effort").add_argument
    add("--rtol", type=NOT_NEGATIVE, default=1e-3, metavar="R", help="half-width asked, relative to u (default 0.001)")
    add("--atol", type=NOT_NEGATIVE, default=0.0, metavar="A", help="half-width asked, in units of u (default 0)")
    add("--confidence", type=SHARE, default=0.99, metavar="P", help="level of the interval (default 0.99)")
    add("--method", metavar="WORD", help="how to find the surrogate (default: chosen as the run goes)")
    add("--seed", type=WHOLE, default=0, metavar="S", help="seed of all randomness (default 0)")
    add("--time-limit", type=POSITIVE, metavar="SECONDS", help="stop after so long with the best honest interval")


def _add_machine(parser: Parser, *, processes: bool) -> None:
    add = parser.add_argument_group("machine").add_argument
    add("--cache", action="store_true", help="keep compiled programs in ~/.cache/uncurse, or in "
        "$JAX_COMPILATION_CACHE_DIR, for the next run")  # fmt: skip
    if processes:
        add("--process", metavar="I/N@HOST:PORT", help="be process I of 0, ..., N - 1, which share the "
            "work; number 0 listens there and prints; auto: as the cluster says (Slurm, Open MPI)")  # fmt: skip
