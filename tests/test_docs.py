"""Every code block of README.md and docs/*.md runs, and what a page shows as printed is what comes out.

The rules for pages:

- A fence names its language: `python`, `sh` or `text`.
- `python` blocks of one page run in order and share their names. One that begins with `# name.py` is also written to
  that file, for later commands.
- Lines of `sh` blocks run one by one, in process; `# exit status 1` after a line says so. They are `uncurse ...`.
- What must not run here says so where the reader sees it: a line of `sh`, or the first line of a `python` block, has
  `# not run: why`. Such a command must still parse, and the files and targets it names must exist.
- `# slow: how long` is the same, but the block runs where the variable UNCURSE_SLOW is set.
- A `text` block right after a block shows what that block printed. Lines on time are not compared, intervals must
  overlap, half-widths and their parts agree within a factor of two, other numbers within 2 %, and words exactly:
  float32 sums differ from machine to machine.

All pages run in one folder that has the repository's `examples` in it.
"""

import contextlib
import io
import os
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import jax
import pytest

import uncurse as uc
from uncurse._cli import main
from uncurse._cli._parser import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = bool(os.environ.get("UNCURSE_SLOW"))
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INTERVAL = re.compile(r"in \[([^,\]]+), ([^\]]+)\]")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int               # of its first line on the page
    shown: str | None       # what the page says it prints


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = [(m[1].strip(), m[2], text[: m.start()].count("\n") + 2, m.start(), m.end()) for m in FENCE.finditer(text)]
    result = []
    for k, (language, body, line, _, end) in enumerate(found):
        follows = k + 1 < len(found) and found[k + 1][0] == "text" and not text[end : found[k + 1][3]].strip()
        result.append(Block(language, body, line, found[k + 1][1] if follows else None))
    return result


# --- running ------------------------------------------------------------------------------------------------------


def skipped(line: str) -> bool:
    """Whether a line is marked as one that does not run here; a mark must say why."""
    mark = re.search(r"# (not run|slow):(.*)", line)
    assert mark is None or mark[2].strip(), f"say why: {line}"
    return mark is not None and not (mark[1] == "slow" and SLOW)


def run_python(block: Block, page: Path, names: dict) -> str | None:
    first = block.text.partition("\n")[0]
    if skipped(first):
        compile(block.text, str(page), "exec")
        return None
    if re.fullmatch(r"# \w+\.py", first):
        Path(first[2:]).write_text(block.text)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):       # line numbers as on the page, for a traceback
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    return printed.getvalue()


def run_sh(block: Block) -> str | None:
    printed, ran = io.StringIO(), True
    for line in filter(None, map(str.strip, block.text.splitlines())):
        words = shlex.split(line, comments=True)
        if skipped(line):
            check_only(words)
            ran = False
        elif words:
            with contextlib.redirect_stdout(printed):
                run_command(words, 1 if "# exit status 1" in line else 0)
    return printed.getvalue() if ran else None


def run_command(words: list[str], status: int) -> None:
    if words[0] == "uncurse":
        assert main([*words[1:], *(["--quiet"] if words[1] in ("solve", "ladder") else [])]) == status, words
        return
    assert words[0] == "python" and len(words) == 2, f"mark as not run: {' '.join(words)}"
    runpy.run_path(words[1], run_name="__main__")


def check_only(words: list[str]) -> None:
    """What can be said of a command without running it."""
    if words[0] == "uncurse":
        parse(words[1:])
    if words[0] == "make":
        assert re.search(rf"^{words[-1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    for word in words[1:]:
        assert not word.endswith(".py") or Path(word).is_file(), word


# --- comparing ----------------------------------------------------------------------------------------------------


LABEL = re.compile(
    r"^  (half-width|error budget|without f|without control|last date only|reference|stationarity|how|result"
    r"|assumptions|time) +", re.MULTILINE,
)
CLOCKED = ("how", "time")


def compare(shown: str, printed: str) -> None:
    """What a page shows against what was printed; see the rules above."""
    parts, others = entries(shown), entries(printed)
    assert parts.keys() == others.keys(), printed
    for label, text in parts.items():
        if label not in CLOCKED:
            agree(text, others[label], {"half-width": 2.0, "error budget": 2.0, "result": 2.0}.get(label, 1.02))


def entries(text: str) -> dict[str, str]:
    """The labelled entries of a printed solution, and under "" what comes before them."""
    first, *rest = LABEL.split(text)
    return {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}


def agree(shown: str, printed: str, factor: float) -> None:
    """Words alike, intervals that overlap and are about as wide, other numbers within `factor`."""
    shown, printed = unclocked(shown), unclocked(printed)
    for ends, others in zip(INTERVAL.findall(shown), INTERVAL.findall(printed), strict=True):
        (low, high), (low2, high2) = map(float, ends), map(float, others)
        assert low <= high2 and low2 <= high, printed
        assert 0.5 < (high - low) / (high2 - low2) < 2, printed
    shown, printed = INTERVAL.sub("in", shown), INTERVAL.sub("in", printed)
    assert NUMBER.sub("#", shown).split() == NUMBER.sub("#", printed).split(), printed
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        x, y = float(a), float(b)
        near = x * y > 0 and (1 / factor <= x / y <= factor or abs(x - y) <= 1.01 * max(unit(a), unit(b)))
        assert x == y or near, (a, b, printed)


def unit(number: str) -> float:
    """Of the last digit of a fraction that is printed with one or two: a scatter, which new noise may move by so much.

    0 for whole numbers: levels, counts and theorems are as they are.
    """
    if not re.search(r"[.e]", number):
        return 0.0
    digits = re.sub(r"e.*|\D", "", number, flags=re.IGNORECASE).lstrip("0")
    return float(f"1e{Decimal(number).as_tuple().exponent}") if 0 < len(digits) <= 2 else 0.0


def unclocked(text: str) -> str:
    """Without the seconds of a JSON object, or a table's column of seconds."""
    lines = re.sub(r'"seconds": \{[^}]*\}', "", text).splitlines()
    if not lines or "seconds" not in lines[0].split():
        return "\n".join(lines)
    place = lines[0].split()[::-1].index("seconds")
    return "\n".join(" ".join(line.split()[: -place - 1] + line.split()[-place:]) for line in lines)


# --- tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Where pages run. Compiled code is kept there, since several pages solve the same equations."""
    path = tmp_path_factory.mktemp("docs")
    (path / "examples").symlink_to(ROOT / "examples")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(path / "compiled"))
    yield path
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["docs"])
    names: dict = {"__name__": "docs"}
    for block in blocks(page):
        run: dict[str, Callable[[], str | None]] = {
            "python": lambda block=block: run_python(block, page, names), "sh": lambda block=block: run_sh(block),
        }
        printed = run.get(block.language, lambda: None)()
        if block.shown is not None and printed is not None:
            compare(block.shown, printed)


def test_pages_keep_the_rules():
    for page in PAGES:
        assert {block.language for block in blocks(page)} <= {"python", "sh", "text"}, page.name
        lines = page.read_text().splitlines()
        assert not [line for line in lines if line.lstrip() != line and line.lstrip().startswith("```")], page.name
        for block in blocks(page):
            marked = [line for line in block.text.splitlines() if re.search(r"# (not run|slow)", line)]
            assert all(re.search(r"# (not run|slow): \w", line) for line in marked), page.name


def test_every_page_and_every_public_name_can_be_found():
    nav = (ROOT / "mkdocs.yml").read_text()
    assert all(f": {page.name}\n" in nav for page in PAGES[1:])
    listed = set(re.findall(r"^::: uncurse\.([\w.]+)", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE))
    public = {name for name in vars(uc) if not name.startswith("_") and not isinstance(getattr(uc, name), ModuleType)}
    assert public <= listed
    assert {f"zoo.{name.replace('-', '_')}" for name in uc.zoo.cases} <= listed


SHOWN = """u(0, x) = 0.527  in [0.521, 0.533]    99 %, two-sided
  error budget    sampling 0.005   time step 0.001
  without f       0.391, 26 % away
  time            3.1 s = import 0.0 + compile 2.2    seed 0, 2 cores"""


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("3.1 s = import 0.0 + compile 2.2", "9.9 s = import 1.0", True),
        ("0.527  in [0.521, 0.533]", "0.528  in [0.523, 0.533]", True),
        ("0.527  in [0.521, 0.533]", "0.530  in [0.529, 0.531]", False),     # much narrower
        ("0.527  in [0.521, 0.533]", "0.535  in [0.534, 0.539]", False),     # elsewhere
        ("two-sided", "estimate: not proved", False),
        ("sampling 0.005", "sampling 0.007", True),
        ("sampling 0.005", "sampling 0.02", False),
        ("time step 0.001", "time step 0", False),
        ("26 % away", "35 % away", False),
        ("  without f       0.391, 26 % away\n", "", False),
        ("time step 0.001", "time step 0.001   rounding 1e-07", False),
    ],
)
def test_a_page_that_is_out_of_date_is_found(here, there, same):
    printed = SHOWN.replace(here, there)
    assert printed != SHOWN
    with contextlib.nullcontext() if same else pytest.raises(AssertionError):
        compare(SHOWN, printed)


def test_seconds_are_not_compared():
    row = "dim  value  seconds  result\n  1   0.52      {}  met"
    compare(row.format(3.1), row.format(9.9))
    compare('{"value": 1.5, "seconds": {"total": 3.0}}', '{"value": 1.5, "seconds": {"total": 4.0}}')
    with pytest.raises(AssertionError):
        compare(row.format(3.1), row.format(3.1).replace("0.52", "0.62"))
