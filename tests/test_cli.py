"""The command line: what scripts rely on is the JSON object and the exit status."""

import dataclasses
import json
import os
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

import uncurse
from uncurse import report
from uncurse._cli import _clock, main
from uncurse._solution import Estimate, Guarantee, Result, Snapshot, Solution, Timing
from uncurse.problems import ParabolicPDE, Reference
from uncurse.processes import Brownian

KEYS = {"value", "low", "high", "confidence", "guarantee", "budget", "result", "reference", "seconds"}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    problem: ParabolicPDE
    at: np.ndarray
    parameters: dict
    origin: str = ""


def equation(dim, reference=None):
    return ParabolicPDE(
        process=Brownian(dim=dim, volatility=1.0), terminal=lambda x: jnp.sum(x**2), horizon=1.0, reference=reference
    )


def hjb(dim: int = 4, strength: float = 1.0, smooth: bool = True):
    """u_t + Lap u - strength |grad u|^2 = 0.

    A control problem.

    Args:
        dim: number of coordinates.
        strength: how strong the control is, of which
            much can be said.
        smooth: whether it is.
    """
    if strength <= 0:
        raise ValueError(f"strength must be above 0; got {strength}")
    parameters = {"dim": dim, "strength": strength, "smooth": smooth}
    return Case("hjb", equation(dim, Reference(1.0, "by hand", 15)), np.zeros(dim), parameters)


def burgers(dim: int = 2):
    """u_t + u u_x = Lap u."""
    return Case("burgers", equation(dim), np.zeros(dim), {"dim": dim})


class Spy:
    """Stands in for `uc.solve`: remembers what it was asked and answers at once."""

    def __init__(self):
        self.problem = self.at = self.options = None
        self.changes = {}
        self.error = None
        self.noise = ""

    def __call__(self, problem, at, **options):
        self.problem, self.at, self.options = problem, at, options
        print(self.noise, end="")
        if self.error is not None:
            raise self.error
        shape = np.shape(at)[:-1]
        settings = {
            "value": np.full(shape, 1.0),
            "low": np.full(shape, 0.9995),
            "high": np.full(shape, 1.0005),
            "confidence": options["confidence"],
            "guarantee": Guarantee.two_sided,
            "budget": {"sampling": np.full(shape, 0.0005)},
            "assumptions": (),
            "baseline": Estimate(np.full(shape, 1.1), np.full(shape, 1.1), np.full(shape, 1.1)),
            "result": Result.tolerance_met,
            "at": at,
            "problem": problem,
            "timing": Timing(total=0.4, compile=0.1, train=0.0, certify=0.0),
            "history": (Snapshot(0.2, np.full(shape, 0.9), np.full(shape, 1.1), "certificate"),),
            "stats": {"tolerance": {"rtol": options["rtol"], "atol": options["atol"]}},
            "record": {"seed": options["seed"]},
        }
        return Solution(**(settings | self.changes))


@pytest.fixture
def spy(monkeypatch):
    zoo = types.ModuleType("uncurse.zoo")
    zoo.cases = {"hjb": hjb, "burgers": burgers}
    monkeypatch.setitem(sys.modules, "uncurse.zoo", zoo)
    monkeypatch.setattr(uncurse, "zoo", zoo, raising=False)
    spy = Spy()
    monkeypatch.setattr(uncurse, "solve", spy, raising=False)
    return spy


def refused(argv, capsys):
    """Run what must be refused: status 2, nothing on standard output, a message without a traceback."""
    try:
        status = main(argv)
    except SystemExit as leaving:
        status = leaving.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("uncurse")
    return err


# --- solve


def test_solve_prints_the_solution_and_returns_zero(spy, capsys):
    assert main(["solve", "hjb"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("u(0, x) = 1.00000  in [0.99950, 1.00050]    99 %, two-sided\n")
    assert err == ""
    assert spy.at.shape == (4,)
    assert spy.options == {
        "rtol": 1e-3, "atol": 0.0, "confidence": 0.99, "method": None, "seed": 0, "time_limit": None,
        "progress": True, "throw": False,
    }  # fmt: skip


def test_options_reach_solve_wherever_the_name_stands(spy):
    argv = ["solve", "--rtol", "1e-2", "--seed", "7", "hjb", "--atol=0.5", "--confidence", "0.9", "--time-limit", "3",
            "--method", "network", "--quiet", "--dim", "6"]  # fmt: skip
    assert main(argv) == 0
    assert spy.options == {
        "rtol": 0.01, "atol": 0.5, "confidence": 0.9, "method": "network", "seed": 7, "time_limit": 3.0,
        "progress": False, "throw": False,
    }  # fmt: skip
    assert spy.problem.dim == 6


@pytest.mark.parametrize("result", [r for r in Result if r is not Result.tolerance_met])
def test_tolerance_not_met_is_status_one(spy, capsys, result):
    spy.changes = {"result": result}
    assert main(["solve", "hjb", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["result"] == result.name
    assert result.advice in " ".join(err.split())


def strict(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_json_is_one_object_with_the_keys_promised(spy, capsys):
    spy.noise = "a user's print"
    assert main(["solve", "hjb", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = strict(out)
    assert out.count("\n") == 1
    assert answer.keys() == KEYS
    assert (answer["value"], answer["low"], answer["high"], answer["reference"]) == (1.0, 0.9995, 1.0005, 1.0)
    assert (answer["confidence"], answer["guarantee"], answer["result"]) == (0.99, "two_sided", "tolerance_met")
    assert answer["budget"] == {"sampling": 0.0005}
    seconds = answer["seconds"]
    assert seconds.keys() == {"total", "setup", "train", "certify"}
    assert seconds["total"] == pytest.approx(seconds["setup"] + seconds["train"] + seconds["certify"], abs=1e-3)
    assert "a user's print" in err
    assert "u(0, x) = 1.0" in err


def test_json_has_null_for_what_is_unknown(spy, capsys):
    spy.changes = {"low": np.array(-np.inf), "value": np.array(np.nan), "budget": {"bias": np.array(np.nan)}}
    main(["solve", "burgers", "--json"])
    answer = strict(capsys.readouterr().out)
    assert (answer["low"], answer["value"], answer["budget"], answer["reference"]) == (None, None, {"bias": None}, None)


def test_json_of_many_points_holds_lists(spy, capsys, tmp_path):
    np.save(tmp_path / "points.npy", np.zeros((3, 4)))
    spy.changes = {"high": np.array([1.0, np.inf, 2.0])}
    main(["solve", "hjb", "--json", "--at", str(tmp_path / "points.npy")])
    answer = strict(capsys.readouterr().out)
    assert answer["value"] == [1.0, 1.0, 1.0]
    assert answer["high"] == [1.0, None, 2.0]


def test_total_counts_from_the_start_of_the_process(spy, capsys):
    main(["solve", "hjb", "--json"])
    total = json.loads(capsys.readouterr().out)["seconds"]["total"]
    assert 0.0 < total <= _clock.since_start()
    if sys.platform == "linux":
        assert total > 0.05         # this process imported JAX before it came here


def test_case_parameters_are_converted_by_their_annotation(spy, monkeypatch):
    seen = {}

    def case(dim: int = 2, strength=0.5, smooth: bool = False, label: str = "a", limit: float | None = None):
        seen.update(dim=dim, strength=strength, smooth=smooth, label=label, limit=limit)
        return burgers(dim)

    monkeypatch.setitem(uncurse.zoo.cases, "made-up", case)
    argv = ["--dim", "3", "--strength", "10", "--smooth", "true", "--label", "b", "--limit", "-1e-3"]
    assert main(["solve", "made_up", *argv]) == 0
    assert seen == {"dim": 3, "strength": 10.0, "smooth": True, "label": "b", "limit": -0.001}
    assert type(seen["dim"]) is int
    assert main(["solve", "made-up"]) == 0
    assert seen == {"dim": 2, "strength": 0.5, "smooth": False, "label": "a", "limit": None}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["solve", "hjbb"], "did you mean hjb?"),
        (["solve", "nothing-like-it"], "The zoo has hjb, burgers"),
        (["solve"], "NAME"),
        (["solve", "hjb", "--rtol", "0"], "--rtol 0 needs an --atol above 0"),
        (["solve", "hjb", "--rtol", "-1"], "--rtol: must be a number, at least 0; got -1"),
        (["solve", "hjb", "--rtol", "nan"], "--rtol: must be"),
        (["solve", "hjb", "--atol", "inf"], "--atol: must be"),
        (["solve", "hjb", "--confidence", "1"], "between 0 and 1"),
        (["solve", "hjb", "--seed", "1.5"], "--seed: must be a whole number"),
        (["solve", "hjb", "--time-limit", "0"], "--time-limit: must be a number above 0"),
        (["solve", "hjb", "--dim", "2.5"], "--dim: must be a whole number; got 2.5"),
        (["solve", "hjb", "--strength", "strong"], "--strength: must be a number; got strong"),
        (["solve", "hjb", "--strength", "-3"], "strength must be above 0; got -3.0"),
        (["solve", "hjb", "--dim", "0"], "dim must be at least 1; got 0"),
        (["solve", "hjb", "--smooth", "perhaps"], "true or false"),
        (["solve", "hjb", "--strenght", "3"], "did you mean --strength?"),
        (["solve", "burgers", "--strength", "3"], "there is no option --strength"),
        (["solve", "hjb", "--plot", "run.txt"], "ends in .png, .pdf, .svg"),
        (["solve", "hjb", "--plot", "missing/run.png"], "there is no folder 'missing'"),
        (["solve", "hjb", "--save", "missing/run"], "there is no folder 'missing'"),
        (["solve", "hjb", "--json", "--at", "1,2"], "at must have shape (4,)"),
        (["solve", "hjb", "--at", "1,two,3,4"], "one number for all coordinates"),
        (["solve", "hjb", "--at", "nan"], "at must be finite"),
        (["solve", "hjb", "--at", "missing.npy"], "No such file"),
        (["solve", "missing.py:problem"], "there is no file 'missing.py'"),
        (["sovle", "hjb"], "did you mean solve?"),
        ([], "say what to do: solve, zoo, ladder, bench"),
        (["--nonsense"], "there is no option --nonsense"),
        (["ladder", "hjb", "--vary", "size=1,2"], "it has dim, strength, smooth"),
        (["ladder", "hjb", "--vary", "dim=1,x"], "must be a whole number; got x"),
        (["ladder", "hjb", "--vary", "dim"], "expected PARAMETER=A,B"),
        (["bench", "hjb", "--write", "table.txt"], "ends in .md or .json"),
        (["bench", "hjbb"], "did you mean hjb?"),
        (["bench", "hjb --strenght 3"], "did you mean --strength?"),
    ],
)
def test_bad_input_is_refused_in_words(spy, capsys, argv, message):
    assert message in refused(argv, capsys)
    assert spy.problem is None      # nothing was solved


def test_an_argument_that_solve_refuses_is_bad_input(spy, capsys, tmp_path):
    def refuse(problem, at, **options):
        from uncurse import _checks

        _checks.number("rtol", -1.0, above=0.0)

    uncurse.solve = refuse
    assert "rtol must be above 0" in refused(["solve", "hjb"], capsys)


def test_a_defect_keeps_its_traceback(spy):
    spy.error = ValueError("not ours: raised in this file")
    with pytest.raises(ValueError, match="not ours"):
        main(["solve", "hjb"])


def test_interrupt_before_there_is_an_interval_is_not_met(spy, capsys):
    spy.error = KeyboardInterrupt()
    assert main(["solve", "hjb", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "interrupted" in err


def test_plot_and_save_write_files_that_hold_the_zoo_case(spy, tmp_path, capsys):
    plot, saved = tmp_path / "run.png", tmp_path / "run.uncurse"
    assert main(["solve", "hjb", "--dim", "3", "--plot", str(plot), "--save", str(saved)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    parameters = {"dim": 3, "strength": 1.0, "smooth": True}
    loaded = report.load(saved)
    assert loaded.record["zoo"] == {"name": "hjb", "parameters": parameters}
    assert loaded.timing.imports > 0.0
    assert loaded.history[0].seconds == pytest.approx(0.2 + loaded.timing.imports)      # one clock for both


# --- the point


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", [0.5] * 4),
        ("-1.5", [-1.5] * 4),
        ("-1e-3", [-0.001] * 4),
        ("1,2,3,4", [1.0, 2.0, 3.0, 4.0]),
        ("-1,2,-3,4", [-1.0, 2.0, -3.0, 4.0]),
    ],
)
def test_at_takes_a_number_or_a_list(spy, text, expected):
    assert main(["solve", "hjb", "--at", text]) == 0
    assert spy.at.tolist() == expected
    assert spy.problem.reference is None        # the reference holds at the zoo's own point only


@pytest.mark.parametrize("shape", [(4,), (7, 4)])
def test_at_takes_a_file(spy, tmp_path, shape):
    points = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "points.npy", points)
    assert main(["solve", "hjb", "--at", str(tmp_path / "points.npy")]) == 0
    assert np.array_equal(spy.at, points)


def test_at_refuses_a_file_of_another_shape_or_kind(spy, tmp_path, capsys):
    path = tmp_path / "points.npy"
    np.save(path, np.zeros((2, 3)))
    assert "at must have shape (4,) or (n, 4)" in refused(["solve", "hjb", "--at", str(path)], capsys)
    np.save(path, np.array([{}]), allow_pickle=True)
    refused(["solve", "hjb", "--at", str(path)], capsys)
    path.write_bytes(b"")
    refused(["solve", "hjb", "--at", str(path)], capsys)


# --- equations in files


@pytest.fixture
def script(tmp_path):
    (tmp_path / "neighbour.py").write_text("DIM = 3\n")
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\n"
        "import jax.numpy as jnp\n"
        "import uncurse\n"
        "from uncurse.problems import ParabolicPDE\n"
        "from uncurse.processes import Brownian\n"
        "from neighbour import DIM\n"
        "def build(dim: int = DIM):\n"
        "    'My equation.'\n"
        "    return ParabolicPDE(process=Brownian(dim, 1.0), terminal=lambda x: jnp.sum(x), horizon=1.0)\n"
        "@dataclasses.dataclass\n"
        "class Case:\n"
        "    problem: ParabolicPDE\n"
        "    at: object\n"
        "    name: str = 'mine'\n"
        "    parameters: dict = dataclasses.field(default_factory=dict)\n"
        "problem = build()\n"
        "case = Case(problem, jnp.ones(3))\n"
        "def needs(x):\n"
        "    return x\n"
        "def wrong():\n"
        "    return 3\n"
        "def broken():\n"
        "    return 1 / 0\n"
        "number = 3\n"
    )
    return str(path)


def test_an_object_of_a_file_is_solved(spy, script):
    assert main(["solve", f"{script}:problem", "--at", "2"]) == 0
    assert spy.at.tolist() == [2.0, 2.0, 2.0]
    assert main(["solve", f"{script}:case"]) == 0
    assert spy.at.tolist() == [1.0, 1.0, 1.0]
    assert main(["solve", f"{script}:build", "--at", "0"]) == 0
    assert main(["solve", f"{script}:build", "--at", "0", "--dim", "5"]) == 0
    assert spy.problem.dim == 5


def test_a_file_is_found_by_a_relative_path(spy, script, monkeypatch):
    monkeypatch.chdir(os.path.dirname(script))      # noqa: PTH120
    assert main(["solve", "mine.py:problem", "--at", "0"]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":problem", "say where to solve, for instance --at 0"),
        ("", "say which object"),
        (":", "it has build, problem, case, wrong, broken"),
        (":problm", "did you mean problem?"),
        (":number", "is 3, not an equation; it has build, problem"),
        (":needs", "not an equation"),
        (":wrong", "must give an equation, a decision problem or a zoo case; it gave 3"),
        (":broken", "failed, in line 23: division by zero"),
    ],
)
def test_objects_that_cannot_be_solved_are_refused(spy, script, capsys, name, message):
    assert message in refused(["solve", script + name], capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", "in line 2: ZeroDivisionError"),
        ("def f(:\n", "SyntaxError"),
        ("import no_such_module_here\n", "ModuleNotFoundError"),
        ("", "it has no equation, decision problem, zoo case or function"),
    ],
)
def test_files_that_fail_are_refused_with_their_line(spy, tmp_path, capsys, text, message):
    path = tmp_path / "bad.py"
    path.write_text(text)
    assert message in refused(["solve", f"{path}:x"], capsys)


# --- zoo, ladder, bench, help


def test_zoo_lists_equations_references_and_options(spy, capsys):
    assert main(["zoo"]) == 0
    out = capsys.readouterr().out
    assert "hjb\n    u_t + Lap u - strength |grad u|^2 = 0.\n    reference 1.00000000000000 (by hand)\n" in out
    assert "    --dim 4 --strength 1.0 --smooth True\n" in out
    assert "burgers\n    u_t + u u_x = Lap u.\n    reference unknown\n" in out


def test_ladder_solves_each_rung(spy, capsys, monkeypatch):
    assert main(["ladder", "hjb", "--vary", "dim=2,3,5", "--strength", "7"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["dim", "2", "3", "5"]
    assert all("inside" in row and "tolerance_met" in row for row in rows[1:])
    assert main(["ladder", "hjb", "--json"]) == 0
    assert [rung["strength"] for rung in strict(capsys.readouterr().out)["rungs"]] == [1.0, 10.0, 20.0]
    assert main(["ladder", "burgers", "--json"]) == 0
    rungs = strict(capsys.readouterr().out)["rungs"]
    assert [rung["dim"] for rung in rungs] == [10, 100, 1000]
    assert rungs[1]["seconds"]["total"] < rungs[0]["seconds"]["total"]      # only the first pays for the imports


def test_ladder_stops_at_an_interrupt_and_reports_what_was_not_met(spy, capsys):
    spy.changes = {"result": Result.interrupted}
    assert main(["ladder", "hjb"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory comes from wait4")
def test_bench_runs_each_case_in_a_process_of_its_own(spy, capsys, tmp_path, monkeypatch):
    answer = {"value": 1.0, "low": 0.9, "high": None, "confidence": 0.99, "guarantee": "lower_bound", "budget": {},
              "result": "time_limit", "reference": 1.0,
              "seconds": {"total": 3.0, "setup": 1.0, "train": 1.5, "certify": 0.5}}  # fmt: skip
    fake = tmp_path / "python"
    fake.write_text(
        f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\n"
        f"case \"$4\" in burgers) echo 'went wrong' >&2; exit 2;; esac\necho '{json.dumps(answer)}'; exit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    table = tmp_path / "table.json"
    assert main(["bench", "hjb --strength 10 --rtol 0.1", "burgers", "--seed", "3", "--write", str(table)]) == 1
    out, err = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert rows[0][:4] == ["case", "value", "interval", "guarantee"]
    assert rows[2][:7] == ["hjb --strength 10 --rtol 0.1", "1.00", "[0.90, unbounded]", "lower bound",
                           "1.00000000000", "inside", "time limit"]  # fmt: skip
    assert rows[2][7:11] == ["3.0", "1.0", "1.5", "0.5"]
    assert float(rows[2][11]) > 0.0
    assert rows[3][:2] == ["burgers", "no answer"]
    assert "burgers gave no answer: went wrong" in err
    first = (tmp_path / "calls").read_text().splitlines()[0]
    assert first.startswith("-m uncurse solve hjb --rtol=0.001")
    assert first.endswith("--strength 10 --rtol 0.1 --json --quiet")        # a case's own options win
    assert "--seed=3" in first
    written = strict(table.read_text())
    assert [run["case"] for run in written["runs"]] == ["hjb --strength 10 --rtol 0.1", "burgers"]
    assert written["runs"][1]["answer"] is None


@pytest.mark.parametrize("words", ["--help", "solve --help", "ladder --help", "bench -h", "zoo -h"])
def test_help_is_printed(spy, capsys, words):
    with pytest.raises(SystemExit) as leaving:
        main(words.split())
    out, err = capsys.readouterr()
    assert leaving.value.code == 0
    assert out.startswith("usage: uncurse")
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100


def test_help_of_a_case_shows_its_parameters(spy, capsys):
    with pytest.raises(SystemExit):
        main(["solve", "hjb", "--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: uncurse solve hjb [options]\n\nu_t + Lap u - strength |grad u|^2 = 0.")
    assert "--strength NUMBER" in out
    assert "how strong the control is, of which much can be said (default 1.0)" in " ".join(out.split())
