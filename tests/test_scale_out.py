"""Several devices and processes give the answer that one gives; compiled programs can be kept.

What is compared is the same paths, summed in the same order, so the tolerances are those of float32 rounding: 1e-6 of u
(2e-9 was measured), 1e-5 of one path's S. Paths from other keys would miss by the sampling error, 1e-3 of u and more.
Seeds are fixed and nothing is decided by the clock, so there are no false alarms.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from uncurse._cli import main

HERE = Path(__file__).parent
SOLVED = ("exact", "stepped, three points")


def start(*arguments, devices=1, **environment):
    """A Python process, with so many devices made of the processor, and programs that are quick to compile."""
    words = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    flags = {"XLA_FLAGS": words, "JAX_PLATFORMS": "cpu"}
    path = {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given = {name: word for name, word in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}    # the session's
    return subprocess.Popen(command, env={**given, **flags, **path, **environment}, **pipes)


def finish(processes):
    """(standard output, standard error) of each; none is left behind."""
    try:
        said = [p.communicate(timeout=300) for p in processes]
    finally:
        for p in processes:
            p.kill()
    for p, (_, words) in zip(processes, said, strict=True):
        assert p.returncode == 0, words
    return said


def free_address():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return f"localhost:{s.getsockname()[1]}"


@pytest.fixture(scope="module")
def runs():
    """The answers of one device, of three, and of two processes with two devices each."""
    script, address = HERE / "_scale_out.py", free_address()
    pair = finish([start(script, address, 2, i, devices=2) for i in (0, 1)])
    alone = finish([start(script), start(script, devices=3)])
    one, three, first, second = (json.loads(out.splitlines()[-1]) for out, _ in alone + pair)
    assert [(r["devices"], r["processes"]) for r in (one, three, first)] == [(1, 1), (3, 1), (4, 2)]
    return {"one": one, "three": three, "first": first, "second": second}


@pytest.mark.parametrize("case", SOLVED)
@pytest.mark.parametrize("other", ["three", "first", "second"])
def test_the_answer_does_not_depend_on_devices_and_processes(runs, other, case):
    one, many = runs["one"][case], runs[other][case]
    assert one["result"] == many["result"] == "tolerance_met"
    assert one["paths"] == many["paths"]
    for end in ("value", "low", "high"):
        np.testing.assert_allclose(many[end], one[end], rtol=1e-6)


@pytest.mark.parametrize("other", ["three", "first", "second"])
def test_paths_at_blocks_of_points(runs, other):
    one, many = runs["one"]["blocks"], runs[other]["blocks"]
    certified = np.array(one["certified"])
    assert certified.shape == (20, 5)
    assert np.unique(certified).size == certified.size      # no chunk is there twice
    np.testing.assert_allclose(many["certified"], certified, rtol=1e-5)
    np.testing.assert_allclose(many["trained on"], one["trained on"], rtol=1e-5)


@pytest.mark.parametrize("how, result", [("limited", "time_limit"), ("interrupted", "interrupted")])
def test_processes_stop_together(runs, how, result):
    """By the first one's clock, and after Ctrl-C in the second alone."""
    assert runs["first"][how] == runs["second"][how]
    assert runs["first"][how]["result"] == result


def test_two_processes_of_the_command_line(runs, tmp_path):
    """One object on the first one's standard output, also where the user's file starts JAX before we could."""
    file = tmp_path / "mine.py"
    file.write_text("import jax.numpy as jnp\nimport uncurse as uc\nzero = jnp.zeros(4)\ncase = uc.zoo.hjb(dim=4)\n")
    address = free_address()
    options = ["--rtol", 2e-3, "--method", "smoothing", "--seed", 3, "--json", "--quiet"]
    command = ["-m", "uncurse", "solve", f"{file}:case", *options, "--process"]
    (first, _), (second, _) = finish([start(*command, f"{i}/2@{address}") for i in (0, 1)])
    found = json.loads(first)
    for end in ("value", "low", "high"):
        np.testing.assert_allclose(found[end], runs["one"]["exact"][end][0], rtol=1e-6)
    assert second == ""


@pytest.mark.parametrize("word", ["2/2@localhost:1", "0/2", "localhost:1", "0/2@localhost"])
def test_a_process_that_cannot_be_is_refused(word, capsys):
    assert main(["solve", "hjb", "--process", word]) == 2
    assert f"--process {word}: expected I/N@HOST:PORT" in capsys.readouterr().err


COUNTED = """
import jax, json, sys
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
from uncurse._cli import main
status = main(sys.argv[1:])
print(events.count("/jax/compilation_cache/cache_hits"), events.count("/jax/compilation_cache/cache_misses"))
sys.exit(status)
"""


def test_the_cache_saves_all_compilation(tmp_path):
    command = ["-c", COUNTED, "solve", "hjb", "--dim", 2, "--rtol", 0.01, "--method", "smoothing", "--json", "--quiet"]

    def run(*more):
        [(out, words)] = finish([start(*command, *more, XDG_CACHE_HOME=str(tmp_path))])
        answer, counts = out.splitlines()
        return json.loads(answer), [int(n) for n in counts.split()], words

    run_cold, (hits, misses), _ = run("--cache")
    assert hits == 0
    assert misses > 0
    run_warm, (hits, misses_now), words = run("--cache")
    assert misses_now == 0
    assert hits == misses
    assert "pjrt" not in words          # XLA's warnings
    assert [run_warm[k] for k in ("value", "low", "high")] == [run_cold[k] for k in ("value", "low", "high")]
    assert [p.name for p in tmp_path.iterdir()] == ["uncurse"]
