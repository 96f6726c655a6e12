"""docs/benchmarks.md is made from result files: what must not be confused, or lost, on the way."""

import math

import pytest

pytest.importorskip("matplotlib")

from benchmarks import _runs, certified, page, plot, scale, work_precision


def run(method, value, **more):
    plain = {"case": "hjb", "method": method, "budget": 1.0, "value": value, "seconds": 5.0, "machine": "M, load 0.5",
             "reference": None, "complete": True, "spread": None, "unit": "paths", "done": 7}  # fmt: skip
    return plain | more


def interval(low, high, **more):
    value = None if low is None or high is None else (low + high) / 2
    return run("uncurse", value, low=low, high=high, guarantee="two_sided", **more)


def test_an_error_against_an_interval_is_a_range():
    runs = [interval(0.5, 1.5), interval(0.9, 1.1), run("deep-bsde", 1.3)]
    truth = plot.known(runs)
    assert truth == (0.9, 1.1)
    assert plot.error(runs[2], truth) == pytest.approx((0.2, 0.4))
    assert plot.error(run("deep-bsde", 1.0), truth) == pytest.approx((0.0, 0.1))


def test_an_error_against_a_reference_is_a_number():
    runs = [interval(0.9, 1.1, reference=2.0)]
    assert plot.known(runs) == (2.0, 2.0)
    assert plot.error(run("deep-bsde", 2.2), (2.0, 2.0)) == pytest.approx((0.1, 0.1))


def test_an_open_interval_has_no_half_width():
    assert plot.half_width(run("uncurse", 1.0, low=0.5, high=None)) == math.inf
    assert plot.half_width(interval(0.9, 1.1)) == pytest.approx(0.1)
    assert plot.known([run("uncurse", 1.0, low=0.5, high=None)]) is None


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(_runs, "RESULTS", tmp_path)
    monkeypatch.setattr(work_precision, "TARGET", tmp_path / "work_precision.json")
    monkeypatch.setattr(certified, "TARGET", tmp_path / "certified.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(page, "PICTURE", tmp_path / "work_precision.png")
    monkeypatch.setattr(page, "SHOWN", tmp_path / "img" / "work_precision.png")
    return tmp_path


def test_the_page_says_what_is_an_interval_and_what_is_an_error(results):
    runs = [
        interval(1.98, 2.02, reference=2.0, budget=1e-2),
        run("uncurse", 2.0, low=None, high=2.1, guarantee="upper_bound", reference=2.0, complete=False),
        run("linearised-mc", 2.02, spread=0.002, reference=2.0),
        run("multilevel-picard", None, reference=2.0),
        run("deep-bsde", -200.0, reference=2.0, unit="iterations", done=40),
    ]
    _runs.write(work_precision.TARGET, "the command", runs)
    assert page.main() == 0
    text = (results / "benchmarks.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| hjb")]
    assert rows[0] == ("| hjb | 2 | ±1 %, two sided, 5 s | 1 % (±0.1 %), 5 s, paths 7 | no value "
                       "| 1.0e+02 times u, 5 s, iterations 40 |")  # fmt: skip
    assert rows[1] == "| hjb | 0.01 | 2.000 | [1.980, 2.020] | two sided | 1 % | 0 % | 5.0 | yes |"
    assert "unbounded" in rows[2] and rows[2].endswith("| no |")
    assert "the command" in text and "load before a run 0.5 to 0.5" in text
    assert (results / "img" / "work_precision.png").read_bytes()[:4] == b"\x89PNG"


def test_a_section_appears_where_its_file_does(results):
    page.main()
    text = (results / "benchmarks.md").read_text()
    assert "## " not in text
    (results / "coverage.md").write_text("# Coverage of the intervals\n\nheld\n")
    spent = {"seconds": {"total": 9.0}, "confidence": 0.99, "printed": "u = 57", "command": "uncurse solve"}
    _runs.write(certified.TARGET, "c", [interval(57.2, 57.4) | spent | {"case": "default-risk"}])
    page.main()
    text = (results / "benchmarks.md").read_text()
    assert "## Coverage\n\nheld\n" in text
    assert "| default-risk | 57.30 | [57.20, 57.40] | 99 % | two sided | 0.17 % | 9 |" in text
    assert "First certified values" in text
    _runs.write(certified.TARGET, "c", [interval(57.2, 57.4) | spent | {"case": "x", "guarantee": "estimate"}])
    page.main()
    assert "ertified" not in (results / "benchmarks.md").read_text()


def test_scale_says_whether_the_reference_is_inside(results):
    here = {"dim": 1000, "rtol": "1e-3", "device": "GPU", "wall": 7.5, "command": "c", "seconds": {"certify": 0.1}}
    nothing = {name: here[name] for name in ("rtol", "device", "wall", "command")}
    runs = [
        interval(0.9, 1.1, reference=2.0) | here | {"dim": 10_000},
        interval(0.9, 1.1, reference=1.0) | here,
        run("uncurse", 1.0, low=0.9, high=None, guarantee="lower_bound", reference=1.0) | here | {"dim": 10},
        {"case": "hjb", "dim": 5, "machine": "M, load 0.5"} | nothing,
    ]
    _runs.write(scale.target("gpu"), "the command", runs)
    page.main()
    text = (results / "benchmarks.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| hjb")]
    assert rows[0] == "| hjb | 5 | 1e-3 | no value |  |  |  |  | 7.5 |"
    assert "unbounded" in rows[1] and "| lower bound | inside |" in rows[1]
    assert rows[2] == "| hjb | 1 000 | 1e-3 | 1.00 | [0.90, 1.10] | two sided | inside | 0.1 | 7.5 |"
    assert "| 10 000 |" in rows[3] and "| outside |" in rows[3] and "GPU; M" in text


def test_what_a_process_said_is_kept_where_it_gave_no_answer():
    found = _runs.run(["uncurse", "solve", "no-such-case", "--json"], timeout=60)
    assert found.keys() == {"command", "machine", "printed", "wall"}
    assert found["command"] == "python -m uncurse solve no-such-case --json"
    assert "no-such-case" in found["printed"]


def test_a_process_that_does_not_end_is_ended():
    assert _runs.run(["http.server", "--bind", "127.0.0.1", "0"], timeout=0.5)["printed"] == "killed after 0.5 s"
