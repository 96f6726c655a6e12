"""The command line: `uncurse solve`, `zoo`, `ladder`, `bench`. Exit status 0 met, 1 not met, 2 bad input."""

# First of all imports: it notes when the process started.
from . import _clock as _clock  # isort: skip

import os
import sys
from collections.abc import Sequence

from ._machine import set_up
from ._parser import parse, parse_machine
from ._target import BadInputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; wrong usage exits with status 2 and a message."""
    try:
        return _dispatch(sys.argv[1:] if argv is None else argv)
    except (BadInputError, OSError) as error:
        if isinstance(error, BrokenPipeError):      # the reader, say `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(f"uncurse: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("uncurse: interrupted before there was an interval", file=sys.stderr)
        return 1


def _dispatch(argv: Sequence[str]) -> int:
    set_up(parse_machine(argv))
    options, target = parse(argv)
    if options.command == "zoo":
        from ._tables import run_zoo

        return run_zoo()
    if options.command == "bench":
        from ._bench import run_bench

        return run_bench(options)
    assert target is not None       # the parser does not let `solve` and `ladder` pass without a name
    if options.command == "ladder":
        from ._tables import run_ladder

        return run_ladder(options, target)
    from ._run import run_solve

    return run_solve(options, target)
