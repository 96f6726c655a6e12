"""What is printed, drawn and saved: never more than what was proved, and number for number."""

import json
import math
import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import uncurse
from uncurse import report
from uncurse._solution import Estimate, Guarantee, Result, Snapshot, Solution, Timing
from uncurse.problems import ParabolicPDE, Reference
from uncurse.processes import Brownian
from uncurse.report import _numbers
from uncurse.report._text import verdict, what_limits

REFERENCE = Reference(4.59016172460, "quadrature of the Hopf-Cole formula", 12)


def num(x):
    return np.asarray(x, dtype=float)


def asked(rtol):
    return {"rtol": rtol, "atol": 0.0}


def make_problem(dim=3, reference=REFERENCE):
    return ParabolicPDE(
        process=Brownian(dim=dim, volatility=1.4),
        terminal=lambda x: jnp.sum(x**2),
        horizon=1.0,
        reference=reference,
        name="by hand",
    )


def make(**changes):
    settings = {
        "value": num(4.59017),
        "low": num(4.58932),
        "high": num(4.59101),
        "confidence": 0.99,
        "guarantee": Guarantee.two_sided,
        "budget": {"sampling": num(0.00061), "linearisation": num(0.00032), "time_step": num(0.0)},
        "assumptions": ("f is concave in grad, proved from the traced function",),
        "baseline": Estimate(num(4.6002), num(4.5999), num(4.6005)),
        "result": Result.tolerance_met,
        "at": np.zeros(3),
        "problem": make_problem(),
        "timing": Timing(total=5.8, compile=1.9, train=1.7, certify=1.1, imports=1.1),
        "history": (
            Snapshot(2.5, num(4.5), num(4.7), "pilot"),
            Snapshot(4.7, num([4.5880]), num([4.5925]), "certificate"),
        ),
        "stats": {"reason": "random features, then a network, 300 steps", "tolerance": asked(1e-3)},
        "record": {"seed": 0, "cores": 2},
    }
    return Solution(**(settings | changes))


def make_many(n=24, **changes):
    value = 4.59 + 0.2 * np.sin(np.arange(n) / 3)
    width = 0.002 * (1.0 + np.arange(n) / n)
    settings = {
        "value": value,
        "low": value - width,
        "high": value + 0.8 * width,
        "at": np.zeros((n, 3)),
        "baseline": Estimate(1.002 * value, value, 1.003 * value),
        "budget": {"sampling": 0.7 * width, "linearisation": 0.3 * width},
        "history": (Snapshot(3.0, value - 1.0, value + 1.0, "pilot"),),
    }
    return make(**(settings | changes))


# --- text


def test_printed_form():
    lines = str(make()).splitlines()
    assert lines[0] == "u(0, x) = 4.59017  in [4.58932, 4.59101]    99 %, two-sided"
    assert lines[1] == "  error budget    sampling 0.00061   linearisation 0.00032   time step 0"
    assert lines[2] == "  without f       4.60020, 0.22 % away"
    assert lines[3] == "  reference       4.59016172460 inside (quadrature of the Hopf-Cole formula)"
    assert lines[4] == "  how             random features, then a network, 300 steps"
    assert lines[-1] == (
        "  time            5.8 s = import 1.1 + compile 1.9 + train 1.7 + certify 1.1    seed 0, 2 cores"
    )
    assert not any(line.startswith("  result") for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(("record", "last"), [
    ({"backend": "gpu", "device": "NVIDIA H100"}, "NVIDIA H100"),
    ({"backend": "gpu"}, "gpu"),            # of a solution that was saved before devices were recorded
    ({"backend": "cpu", "device": "cpu"}, "cores"),
])  # fmt: skip
def test_a_gpu_is_named(record, last):
    assert str(make(record={"seed": 0, "cores": 2} | record)).split("\n")[-1].endswith(last)


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_no_stronger_word_than_the_guarantee(guarantee):
    first = str(make(guarantee=guarantee)).splitlines()[0]
    stronger = ["unbiased", "two-sided", "upper bound", "lower bound", "estimate"]
    own = str(guarantee).replace("two_sided", "two-sided").replace("_", " ")
    assert own in first
    assert [word for word in stronger if word in first] == [own]
    assert ("not proved" in first) == (guarantee == Guarantee.estimate)


def test_open_ends_and_unknown_bias_are_said_in_words():
    text = str(
        make(
            low=num(-np.inf),
            guarantee=Guarantee.upper_bound,
            result=Result.bias_limited,
            budget={"sampling": num(0.0006), "bias": num(np.nan), "tail": num(np.inf)},
        )
    )
    assert "in (unbounded, 4.59101]    99 %, upper bound: only the upper end is proved" in text
    assert "sampling 0.0006   bias unknown   tail unbounded" in text
    assert "result          a part of the error that more samples cannot shrink" in text
    assert what_limits(make(budget={"a": num(1.0), "bias": num(np.nan)})) == "bias"


@pytest.mark.parametrize("ends", [(np.nan, np.nan, np.nan), (np.nan, -np.inf, np.inf), (np.inf, np.inf, np.inf)])
def test_nothing_that_is_not_a_number_is_printed_as_one(ends):
    value, low, high = map(num, ends)
    solution = make(
        value=value, low=low, high=high, result=Result.not_finite, budget={"sampling": num(np.nan)},
        baseline=Estimate(num(np.nan), num(np.nan), num(np.nan)), timing=Timing(0, 0, 0, 0),
    )  # fmt: skip
    for text in (str(solution), solution._repr_html_()):
        assert "not known: no finite number came out" in text
        assert "99 %" not in text
        words = text.replace("(", " ").replace("]", " ").replace(",", " ").split()
        assert not {"nan", "inf", "-inf"} & {word.lower() for word in words}


def test_a_failure_says_what_was_asked_and_what_limits():
    text = " ".join(str(make(result=Result.time_limit, stats={"tolerance": asked(1e-4)})).split())
    assert "the time limit came first" in text
    assert "(half-width 0.00085, asked 0.00046); what limits: sampling" in text


def test_many_points_make_a_table():
    lines = str(make_many()).splitlines()
    assert lines[0] == "u(0, x) at 24 points    99 %, two-sided"
    table = lines[2:11]
    assert [row.split()[0] for row in table] == ["0", "1", "2", "3", "...", "20", "21", "22", "23"]
    assert len({len(row) for row in table}) == 1
    assert table[0].split() == ["0", "4.5900", "4.5880", "4.5916"]
    assert lines[11] == "  half-width      worst 0.0039 at point 23, where 0.0048 was asked; median 0.003"
    assert "not compared: several points" in str(make_many())
    assert len(str(make_many(5)).splitlines()) - len(str(make_many(4)).splitlines()) == 1
    one_open = make_many(3, high=np.array([5.0, np.inf, 5.0]))
    assert "unbounded or unknown at 1 of 3 points" in str(one_open)


def test_half_width_row_names_the_point_furthest_from_its_tolerance():
    value = num([1.0, 100.0])
    solution = make(value=value, low=value - num([0.002, 0.05]), high=value + num([0.002, 0.05]), at=np.zeros((2, 3)),
                    budget={}, baseline=Estimate(value, value, value))  # fmt: skip
    assert "worst 0.002 at point 0, where 0.001 was asked; median 0.026" in str(solution)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference(1.05, "formula", 15), "inside"),
        (Reference(1.2, "formula", 15), "outside"),
        (Reference(1.1001, "formula", 15), "outside"),
        (Reference(0.9999, "formula", 15), "outside"),
        (Reference(1.05, "Monte Carlo", 3, error=0.2), "undecided"),
        (Reference(1.2, "Monte Carlo", 3, error=0.2), "undecided"),
        (Reference(1.2, "a paper", 2), "outside"),
        (Reference(1.1, "a paper", 2), "undecided"),    # 1.1 to two digits may be 1.06
        (Reference(1.05, "a paper", 0), "not compared"),
    ],
)
def test_references_are_compared_as_far_as_they_are_known(reference, expected):
    assert verdict(1.0, 1.1, reference) == expected
    text = str(make(value=num(1.05), low=num(1.0), high=num(1.1), problem=make_problem(reference=reference)))
    assert expected in text
    assert reference.origin in text


def test_baseline_differences_below_the_errors_are_not_claimed():
    assert "4.591, no difference within the errors" in str(make(baseline=Estimate(num(4.5911), num(4.58), num(4.60))))
    assert "without f       not finite" in str(make(baseline=Estimate(num(np.nan), num(0), num(0))))


def test_html_is_escaped():
    html = make(assumptions=("|f| < 2 & <b>bold</b>",))._repr_html_()
    assert "|f| &lt; 2 &amp; &lt;b&gt;bold" in html
    assert "<b>" not in html
    assert "<pre>" in make_many()._repr_html_()


@given(
    st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12),
    st.floats(1e-9, 1e3),
    st.floats(1e-9, 1e3),
)
def test_printed_interval_holds_the_interval(value, down, up):
    low, high = value - down, value + up
    shown = [float(text) for text in _numbers.interval(value, low, high)]
    assert shown[1] <= low <= value <= high <= shown[2]
    assert shown[1] <= shown[0] <= shown[2]
    if max(down, up) > 1e-13 * max(abs(low), abs(high)):
        # Rounding outwards costs at most a digit in the second place of the half-width.
        assert shown[2] - high <= 0.11 * max(down, up) + 1e-15 * abs(high)
        assert low - shown[1] <= 0.11 * max(down, up) + 1e-15 * abs(low)


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((4.59017, 4.58932, 4.59101), ("4.59017", "4.58932", "4.59101")),
        ((0.0527825, 0.0527793, 0.0527857), ("0.0527825", "0.0527793", "0.0527857")),
        ((3.2e-9, 3.1e-9, 3.35e-9), ("3.20e-09", "3.10e-09", "3.35e-09")),
        ((123456.0, 123000.0, 124000.0), ("123456", "123000", "124000")),
        ((1.0, 1.0, 1.0), ("1.0000000", "1.0000000", "1.0000000")),
        ((0.0, -0.0123, 0.0151), ("0.000", "-0.013", "0.016")),
        ((math.nan, 1.0, 1.5), ("unknown", "1.00", "1.50")),
        ((math.inf, math.nan, math.inf), ("unknown", "unbounded", "unbounded")),
    ],
)
def test_decimals_follow_the_error(numbers, shown):
    assert _numbers.interval(*numbers) == shown


def test_confidence_keeps_its_digits():
    assert [_numbers.level(c) for c in (0.99, 0.95, 0.999, 0.9999999)] == ["99 %", "95 %", "99.9 %", "99.99999 %"]


# --- files


class Field(eqx.Module):
    """Arrays, a number and a function of the problem: what a surrogate is made of."""

    weights: jax.Array
    scale: float
    terminal: object = eqx.field(static=True)

    def __call__(self, t, x):
        return self.scale * (self.weights @ x) + t * self.terminal(x)


def field_of(problem, weights, scale=2.0):
    return Field(jnp.asarray(weights), scale, problem.terminal)


@pytest.fixture
def methods(monkeypatch):
    module = types.ModuleType("uncurse.methods")
    module.skeleton = lambda problem, surrogate: field_of(problem, jnp.zeros(surrogate["width"]), 0.0)
    monkeypatch.setitem(sys.modules, "uncurse.methods", module)
    monkeypatch.setattr(uncurse, "methods", module, raising=False)


def with_field(problem=None, **record):
    problem = problem or make_problem()
    record = {"surrogate": {"width": 3}, **record}
    return make(problem=problem, field=field_of(problem, [1.0, 2.0, 3.0]), record=record)


def assert_same_numbers(a, b):
    for name in ("value", "low", "high", "at"):
        got, expected = getattr(a, name), getattr(b, name)
        assert got.dtype == expected.dtype
        assert np.array_equal(got, expected, equal_nan=True)
    assert a.budget.keys() == b.budget.keys()
    assert all(np.array_equal(a.budget[k], b.budget[k], equal_nan=True) for k in b.budget)
    assert (a.guarantee, a.result, a.assumptions, a.timing) == (b.guarantee, b.result, b.assumptions, b.timing)
    assert [(s.seconds, s.stage) for s in a.history] == [(s.seconds, s.stage) for s in b.history]
    assert np.array_equal(a.baseline.value, b.baseline.value, equal_nan=True)


def test_saved_numbers_come_back_exactly(tmp_path):
    awkward = np.array([1 / 3, np.nan, -np.inf, 1e-300])
    solution = make_many(
        4,
        value=awkward,
        low=awkward.astype(np.float32),
        stats={"paths": np.int64(7), "kurtosis": np.float32(3.5), "rates": jnp.arange(3), "bad": math.inf, "yes": True},
    )
    path = tmp_path / "four.uncurse"
    solution.save(path)
    loaded = report.load(path)
    assert_same_numbers(loaded, solution)
    assert loaded.stats["paths"] == 7
    assert loaded.stats["bad"] == math.inf
    assert loaded.stats["yes"] is True
    assert np.array_equal(loaded.stats["rates"], [0, 1, 2])
    assert loaded.problem is None
    assert loaded.field is None
    json.loads(path.read_bytes().splitlines()[0], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_loaded_solution_prints_the_same(tmp_path):
    make().save(tmp_path / "one")
    assert str(report.load(tmp_path / "one")) == str(make())
    report.load(tmp_path / "one").save(tmp_path / "two")
    assert str(report.load(tmp_path / "two")) == str(make())


def test_field_comes_back_with_the_problem(tmp_path, methods):
    problem = make_problem()
    solution = with_field(problem)
    solution.save(tmp_path / "f")
    loaded = report.load(tmp_path / "f", problem=problem)
    x = jnp.array([0.5, -1.0, 2.0])
    assert float(loaded.field(0.3, x)) == float(solution.field(0.3, x))
    assert loaded.field.scale == 2.0


def test_field_without_the_problem_says_what_to_pass(tmp_path, methods):
    with_field().save(tmp_path / "f")
    loaded = report.load(tmp_path / "f")
    for use in (loaded.field, loaded.field.grad):
        with pytest.raises(RuntimeError, match=r"problem=\.\.\."):
            use(0.0, np.zeros(3))
    loaded.save(tmp_path / "g")        # what cannot be rebuilt is not written as if it were a field
    assert report.load(tmp_path / "g").field is None


def test_field_of_a_zoo_case_needs_no_problem(tmp_path, methods, monkeypatch):
    zoo = types.ModuleType("uncurse.zoo")

    def get(name, **parameters):
        if name != "made":
            raise ValueError(f"no case {name}")
        return types.SimpleNamespace(problem=make_problem(**parameters))

    zoo.get = get
    monkeypatch.setitem(sys.modules, "uncurse.zoo", zoo)
    monkeypatch.setattr(uncurse, "zoo", zoo, raising=False)
    with_field(zoo={"name": "made", "parameters": {"dim": 3}}).save(tmp_path / "f")
    assert float(report.load(tmp_path / "f").field(0.0, jnp.ones(3))) == 12.0
    with_field(zoo={"name": "gone", "parameters": {}}).save(tmp_path / "g")
    with pytest.raises(RuntimeError, match="could not be rebuilt"):
        report.load(tmp_path / "g").field(0.0, jnp.ones(3))


def test_field_that_does_not_fit_is_refused(tmp_path, methods):
    with_field(surrogate={"width": 5}).save(tmp_path / "f")
    with pytest.raises(ValueError, match="does not fit this problem"):
        report.load(tmp_path / "f", problem=make_problem())
    with_field().save(tmp_path / "g")
    with pytest.raises(ValueError, match="3 dimensions, but problem has 2"):
        report.load(tmp_path / "g", problem=make_problem(dim=2))


def test_bad_files_are_refused_in_words(tmp_path, methods):
    path = tmp_path / "f"
    with pytest.raises(FileNotFoundError):
        report.load(path)
    for foreign in (b"", b"{}", b"\x93NUMPY", b"hello\n"):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="not a solution saved by uncurse"):
            report.load(path)
    with_field().save(path)
    whole = path.read_bytes()
    header = whole.index(b"\n")
    for cut in (header // 2, header, header + 5, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="damaged or incomplete"):
            report.load(path)
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="checksum"):
        report.load(path)
    path.write_bytes(whole.replace(b'"uncurse-solution": 1', b'"uncurse-solution": 9', 1))
    with pytest.raises(ValueError, match=r"format 9.*upgrade"):
        report.load(path)
    path.write_bytes(whole.replace(b'"two_sided"', b'"certain"', 1))
    with pytest.raises(ValueError, match="damaged"):
        report.load(path)


def test_a_failed_save_leaves_no_file_and_no_harm(tmp_path):
    path = tmp_path / "f"
    make().save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"stats\['thing'\] cannot be saved"):
        make(stats={"thing": object()}).save(path)
    with pytest.raises(TypeError, match="keys must be text"):
        make(stats={1: 2}).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    with pytest.raises(FileNotFoundError, match="no folder"):
        make().save(tmp_path / "missing" / "f")


# --- plots


def png_size(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def labels(axes):
    return axes.get_xlabel(), axes.get_ylabel()


def test_plot_of_one_point(tmp_path):
    path = tmp_path / "run.png"
    figure = make().plot(path)
    width, height = png_size(path)
    assert width > 1000
    assert height > 500
    left, right = (sub.axes[0] for sub in figure.subfigs)
    assert labels(left) == ("seconds since the start", "u(0, x)")
    assert left.get_title(loc="left") == "u(0, x) = 4.59017  in [4.58932, 4.59101]    99 %, two-sided"
    legend = [text.get_text() for text in left.get_legend().get_texts()]
    assert {"interval, pilot", "interval, certificate", "reference", "answer", "asked: ± 0.0046"} == set(legend)
    assert [bar.get_width() for bar in right.patches] == pytest.approx([0.00085, 0.00061, 0.00032, 0.0], rel=1e-3)
    assert [tick.get_text() for tick in right.get_yticklabels()] == [
        "half-width", "sampling", "linearisation", "time step",
    ]  # fmt: skip


def test_plots_survive_open_ends_missing_history_and_many_points(tmp_path):
    awkward = [
        make(low=num(-np.inf), guarantee=Guarantee.upper_bound, budget={"bias": num(np.nan)}),
        make(value=num(np.nan), low=num(np.nan), high=num(np.nan), result=Result.not_finite, budget={}),
        make(history=(), record={}, stats={}, problem=None, timing=Timing(0.0, 0.0, 0.0, 0.0)),
        make(history=tuple(Snapshot(0.5 * 3**i, num(4.0), num(5.0), "pilot") for i in range(5))),
        make_many(),
        make_many(100, high=np.full(100, np.inf), low=np.linspace(0.0, 4.0, 100)),
    ]
    for i, solution in enumerate(awkward):
        solution.plot(tmp_path / f"{i}.png")
        assert png_size(tmp_path / f"{i}.png")[0] > 1000


def test_plot_refuses_paths_before_drawing(tmp_path):
    with pytest.raises(ValueError, match=r"a plot is written as .*\.png"):
        make().plot(tmp_path / "run.txt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        make().plot(tmp_path / "missing" / "run.png")


def test_plot_without_matplotlib_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'uncurse\[plot\]'"):
        make().plot()


# --- progress


class Terminal:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_progress_on_a_terminal_shows_stage_interval_and_target(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with report.Progress(True, 0.0046) as progress:
        progress.stage("certificate")
        progress.update(0.5, 4.575, 4.605, "65536 paths")
    for piece in ("certificate", "[4.575, 4.605] ± 0.015", "target ± 0.0046", "left in this stage", "65536 paths"):
        assert piece in terminal.text
    assert terminal.text.endswith(" \r")      # the line was erased


def test_progress_is_silent_when_disabled_and_for_short_runs_elsewhere(capsys):
    for enabled in (True, False):
        with report.Progress(enabled, "rtol 0.001") as progress:
            progress.stage("training")
            progress.update(None, None, None, "step 1")
    assert capsys.readouterr() == ("", "")


def test_progress_in_a_log_says_a_line_now_and_then(capsys, monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 1.0))
    monkeypatch.setattr("uncurse.report._progress.time.perf_counter", lambda: float(next(clock)))
    progress = report.Progress(True, "rtol 0.001")
    for _ in range(40):
        progress.update(None, 1.0, 2.0)
    progress.close()
    progress.update(None, 1.0, 2.0)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert "target rtol 0.001" in lines[0]
