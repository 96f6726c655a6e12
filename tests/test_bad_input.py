"""Bad input: each is a ValueError or a TypeError that names the argument, before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import uncurse as uc
from uncurse.classical import grid

compiled: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
)


@pytest.fixture
def uncompiled():
    """Nothing reaches the compiler."""
    compiled.clear()
    yield
    assert compiled == []


def f(t, x, u, grad):
    return u - u**3


def g(x):
    return jnp.sum(x**2)


def problem(**more):
    return uc.ParabolicPDE(**{"process": uc.Brownian(3, 1.0), "source": f, "terminal": g, "horizon": 1.0, **more})


def test_the_listener_hears_a_compilation():
    compiled.clear()
    jax.jit(lambda x: x * 1.2345 + 1)(np.float32(3.0))
    assert compiled


NAN, INF = float("nan"), float("inf")
NOT_DEFINITE = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])

PROCESSES = {   # what is asked: (error, words in its message)
    "dim 0": (lambda: uc.Brownian(0, 1.0), ValueError, "dim must be at least 1; got 0"),
    "dim negative": (lambda: uc.GeometricBrownian(-3, 0.0, 0.2), ValueError, "dim"),
    "dim a float": (lambda: uc.OrnsteinUhlenbeck(2.0, 1.0, 0.2), TypeError, "dim"),
    "dim a bool": (lambda: uc.Brownian(True, 1.0), TypeError, "dim"),
    "dim text": (lambda: uc.Brownian("3", 1.0), TypeError, "dim"),
    "volatility negative": (lambda: uc.Brownian(2, -1.0), ValueError, "volatility must not be negative"),
    "one volatility negative": (lambda: uc.GeometricBrownian(2, 0.0, [0.2, -0.1]), ValueError, "-0.1"),
    "volatility nan": (lambda: uc.Brownian(2, NAN), ValueError, "volatility must be finite"),
    "volatility inf": (lambda: uc.OrnsteinUhlenbeck(2, 1.0, [1.0, INF]), ValueError, r"volatility .* \(1,\)"),
    "volatility wrong length": (lambda: uc.Brownian(3, [1.0, 2.0]), ValueError, r"volatility .*\(3,\).*\(2,\)"),
    "volatility wrong rows": (lambda: uc.Brownian(3, np.eye(2)), ValueError, r"volatility .*\(3, k\)"),
    "volatility no columns": (lambda: uc.Brownian(3, np.zeros((3, 0))), ValueError, "volatility"),
    "volatility a cube": (lambda: uc.Brownian(3, np.ones((3, 3, 3))), ValueError, "volatility"),
    "volatility text": (lambda: uc.Brownian(3, "high"), TypeError, "volatility"),
    "volatility complex": (lambda: uc.Brownian(3, 1j), TypeError, "volatility"),
    "volatility ragged": (lambda: uc.Brownian(2, [[1.0], [1.0, 2.0]]), TypeError, "volatility"),
    "volatility None": (lambda: uc.Brownian(2, None), TypeError, "volatility"),
    "drift wrong length": (lambda: uc.GeometricBrownian(2, [0.1] * 3, 0.2), ValueError, "drift"),
    "drift nan": (lambda: uc.GeometricBrownian(2, [0.1, NAN], 0.2), ValueError, "drift must be finite"),
    "geometric volatility a matrix": (lambda: uc.GeometricBrownian(2, 0.0, np.eye(2)), ValueError, "volatility"),
    "rate negative": (lambda: uc.OrnsteinUhlenbeck(2, -1.0, 0.2), ValueError, "rate must not be negative"),
    "mean nan": (lambda: uc.OrnsteinUhlenbeck(2, 1.0, 0.2, NAN), ValueError, "mean must be finite"),
    "correlation shape": (lambda: uc.GeometricBrownian(2, 0.0, 0.2, np.eye(3)), ValueError, r"correlation .*\(2, 2\)"),
    "correlation asymmetric": (
        lambda: uc.GeometricBrownian(2, 0.0, 0.2, [[1, 0.5], [0.2, 1]]), ValueError, "correlation must be symmetric"),
    "correlation diagonal": (
        lambda: uc.GeometricBrownian(2, 0.0, 0.2, 2 * np.eye(2)), ValueError, "correlation must have ones"),
    "correlation not definite": (
        lambda: uc.GeometricBrownian(3, 0.0, 0.2, NOT_DEFINITE), ValueError, "correlation must be positive definite"),
    "correlation singular": (
        lambda: uc.GeometricBrownian(2, 0.0, 0.2, np.ones((2, 2))), ValueError, "correlation .* positive definite"),
    "correlation nan": (
        lambda: uc.GeometricBrownian(2, 0.0, 0.2, [[1, NAN], [NAN, 1]]), ValueError, "correlation must be finite"),
    "diffusion drift a number": (lambda: uc.Diffusion(2, 0.1, lambda t, x: jnp.eye(2)), TypeError, "drift"),
    "diffusion drift shape": (
        lambda: uc.Diffusion(2, lambda t, x: x[:1], lambda t, x: jnp.eye(2)), ValueError, r"drift.*\(2,\).*\(1,\)"),
    "diffusion volatility vector": (
        lambda: uc.Diffusion(2, lambda t, x: x, lambda t, x: x), ValueError, r"volatility.*\(2, k\)"),
    "diffusion volatility rows": (
        lambda: uc.Diffusion(2, lambda t, x: x, lambda t, x: jnp.eye(3)), ValueError, "volatility"),
    "diffusion arguments": (lambda: uc.Diffusion(2, lambda x: x, lambda t, x: jnp.eye(2)), ValueError, "drift failed"),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_that_is_none(name, uncompiled):
    make, error, words = PROCESSES[name]
    with pytest.raises(error, match=words):
        make()


PROBLEMS = {
    "horizon 0": ({"horizon": 0.0}, ValueError, "horizon must be above 0; got 0"),
    "horizon negative": ({"horizon": -1.0}, ValueError, "horizon"),
    "horizon nan": ({"horizon": NAN}, ValueError, "horizon must be finite"),
    "horizon array": ({"horizon": [1.0, 2.0]}, ValueError, "horizon must be one number"),
    "horizon text": ({"horizon": "long"}, TypeError, "horizon"),
    "process": ({"process": 3}, TypeError, r"process must be a process such as uc.Brownian"),
    "process a class": ({"process": uc.Brownian}, TypeError, "process"),
    "source a loop": (
        {"source": lambda t, x, u, grad: jax.lax.while_loop(lambda v: v < 1, lambda v: 2 * v, u)}, ValueError,
        r"source must have derivatives .* source\(t, x, u, grad\) has not(.|\n)*fixed number of turns"),
    "terminal NumPy behind a callback": (
        {"terminal": lambda x: jax.pure_callback(np.sum, jax.ShapeDtypeStruct((), np.float32), x)}, ValueError,
        "terminal must have derivatives"),
    "source a vector": ({"source": lambda t, x, u, grad: grad}, ValueError, r"source.*\(\).*\(3,\).*sum"),
    "source of length 1": ({"source": lambda t, x, u, grad: u[None]}, ValueError, r"source.*\(1,\)"),
    "source nothing": ({"source": lambda t, x, u, grad: None}, TypeError, "source"),
    "source a tuple": ({"source": lambda t, x, u, grad: (u, u)}, TypeError, "source"),
    "source whole": ({"source": lambda t, x, u, grad: jnp.argmax(x)}, TypeError, "source.*floating"),
    "source complex": ({"source": lambda t, x, u, grad: u * 1j}, TypeError, "source.*floating"),
    "source a number": ({"source": 1.0}, TypeError, "source must be a function"),
    "source of three": ({"source": lambda t, x, u: u}, ValueError, "source failed"),
    "source in NumPy": ({"source": lambda t, x, u, grad: np.sin(np.asarray(u))}, ValueError, "jax.numpy"),
    "source that branches": ({"source": lambda t, x, u, grad: u if u > 0 else -u}, ValueError, "source failed"),
    "source out of range": ({"source": lambda t, x, u, grad: x @ jnp.ones(4)}, ValueError, "source failed"),
    "terminal a vector": ({"terminal": lambda x: x**2}, ValueError, r"terminal.*\(3,\).*sum"),
    "terminal a number": ({"terminal": 0.0}, TypeError, "terminal must be a function"),
    "terminal whole": ({"terminal": lambda x: jnp.sum(x > 0)}, TypeError, "terminal.*floating"),
    "bounds": ({"bounds": {"shape": "convex"}}, TypeError, "bounds must be a SourceBounds"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_that_is_none(name, uncompiled):
    arguments, error, words = PROBLEMS[name]
    with pytest.raises(error, match=words):
        problem(**arguments)


BOUNDS = {
    "shape": ({"shape": "round"}, ValueError, "shape"),
    "a range upside down": ({"value_range": (1.0, 0.0)}, ValueError, "value_range"),
    "a range of three": ({"slope": (0.0, 1.0, 2.0)}, ValueError, "slope must be a pair"),
    "a range of nan": ({"slope": (0.0, NAN)}, ValueError, r"slope\[1\] must be finite"),
    "a number for a range": ({"value_range": 1.0}, ValueError, "value_range must be a pair"),
    "curvature negative": ({"curvature": -1.0}, ValueError, "curvature must be at least 0"),
    "gradient_slope negative": ({"gradient_slope": -1.0}, ValueError, "gradient_slope"),
    "gradient_curvature inf": ({"gradient_curvature": INF}, ValueError, "gradient_curvature must be finite"),
    "gradient_directions 0": ({"gradient_directions": 0}, ValueError, "gradient_directions"),
    "curvature text": ({"curvature": "small"}, TypeError, "curvature"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_that_are_none(name, uncompiled):
    arguments, error, words = BOUNDS[name]
    with pytest.raises(error, match=words):
        uc.SourceBounds(**arguments)


X = np.zeros(3)
CALLS = {
    "at too long": ({"at": np.zeros(4)}, ValueError, r"at must have shape \(3,\) or \(n, 3\).*\(4,\)"),
    "at a number": ({"at": 0.0}, ValueError, "at must have shape"),
    "at a cube": ({"at": np.zeros((2, 2, 3))}, ValueError, "at must have shape"),
    "at transposed": ({"at": np.zeros((3, 5))}, ValueError, "at must have shape"),
    "at nothing": ({"at": np.zeros((0, 3))}, ValueError, "at must have shape"),
    "at nan": ({"at": [0.0, NAN, 0.0]}, ValueError, r"at must be finite; found nan at index \(1,\)"),
    "at inf": ({"at": [[0.0] * 3, [0.0, INF, 0.0]]}, ValueError, r"at must be finite; found inf at index \(1, 1\)"),
    "at text": ({"at": "origin"}, TypeError, "at must be"),
    "at complex": ({"at": 1j * X}, TypeError, "at must be"),
    "rtol 0": ({"rtol": 0.0}, ValueError, "rtol must be above 0; got 0"),
    "rtol negative": ({"rtol": -1e-3}, ValueError, "rtol"),
    "rtol negative, with atol": ({"rtol": -1e-3, "atol": 1.0}, ValueError, "rtol"),
    "rtol nan": ({"rtol": NAN}, ValueError, "rtol must be finite"),
    "rtol text": ({"rtol": "tight"}, TypeError, "rtol"),
    "rtol array": ({"rtol": [1e-3, 1e-2]}, ValueError, "rtol must be one number"),
    "atol negative": ({"atol": -1.0}, ValueError, "atol"),
    "atol array": ({"atol": [1e-3, 1e-2]}, ValueError, "atol must be one number"),
    "atol nan": ({"atol": NAN}, ValueError, "atol must be finite"),
    "atol text": ({"atol": "tight"}, TypeError, "atol"),
    "confidence 0": ({"confidence": 0.0}, ValueError, "confidence"),
    "confidence 1": ({"confidence": 1.0}, ValueError, "confidence"),
    "confidence 99": ({"confidence": 99}, ValueError, "confidence must be above 0 and below 1; got 99"),
    "seed negative": ({"seed": -1}, ValueError, "seed"),
    "seed a float": ({"seed": 1.5}, (TypeError, ValueError), "seed"),
    "seed too large": ({"seed": 2**32}, ValueError, "seed"),
    "time_limit 0": ({"time_limit": 0}, ValueError, "time_limit must be above 0"),
    "time_limit nan": ({"time_limit": NAN}, ValueError, "time_limit"),
    "method unknown": ({"method": "neural"}, ValueError, "method must be .*features.*got 'neural'"),
    "method a number": ({"method": 3}, (TypeError, ValueError), "method"),
    "problem": ({"problem": f}, TypeError, "problem must be a uc.ParabolicPDE"),
    "a case for a problem": ({"problem": uc.zoo.hjb(dim=3)}, TypeError, "problem"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_none(name):
    arguments, error, words = CALLS[name]
    complete = {"problem": problem(), "at": X, "progress": False, **arguments}
    compiled.clear()
    with pytest.raises(error, match=words):
        uc.solve(**complete)
    assert compiled == []


def test_unknown_names_of_the_zoo_come_with_the_nearest():
    with pytest.raises(ValueError, match=r"'hbj'.*Did you mean 'hjb'.*allen-cahn"):
        uc.zoo.get("hbj")
    with pytest.raises(TypeError, match="strenght"):
        uc.zoo.get("hjb", strenght=2.0)
    with pytest.raises(ValueError, match="dim"):
        uc.zoo.hjb(dim=0)
    with pytest.raises(TypeError, match="name"):
        uc.zoo.get(3)


def test_the_referee_refuses_too():
    arguments = {"horizon": 1.0, "interval": (-1.0, 1.0)}
    for wrong in ({"horizon": -1.0}, {"interval": (1.0, -1.0)}, {"nodes": 3}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            grid.solve(np.zeros_like, np.ones_like, lambda t, x, u, p: 0 * u, np.sin, **{**arguments, **wrong})


# --- whatever comes, it works or it is refused with a reason -------------------------------------------------------


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)
ANY = st.one_of(
    NUMBERS, st.integers(-3, 5), st.none(), st.text(max_size=3), st.booleans(), st.lists(NUMBERS, max_size=4),
    hnp.arrays(st.sampled_from([np.float32, np.float64, np.int32, np.complex64, np.bool_, np.dtype("U2")]),
               hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
)
MANY = settings(max_examples=150, deadline=None, derandomize=True)


def named(error, *names):
    message = str(error)
    assert any(name in message for name in names), message


@MANY
@given(st.one_of(st.integers(-2, 4), ANY), ANY, ANY, st.one_of(st.none(), ANY))
def test_processes_work_or_say_why(dim, first, second, third):
    for make, names in (
        (lambda: uc.Brownian(dim, first), ("dim", "volatility")),
        (lambda: uc.GeometricBrownian(dim, first, second, third), ("dim", "drift", "volatility", "correlation")),
        (lambda: uc.OrnsteinUhlenbeck(dim, first, second, third), ("dim", "rate", "volatility", "mean")),
    ):
        try:
            process = make()
        except (ValueError, TypeError) as error:
            named(error, *names)
            continue
        for array in jax.tree.leaves(process):
            assert np.isfinite(np.asarray(array)).all() and array.dtype == np.float32
        assert process.dim >= 1 and process.noise_dim >= 1 and process.normals >= process.noise_dim


@MANY
@given(
    st.one_of(ANY, hnp.arrays(float, st.sampled_from([(2,), (1, 2), (3, 2)]), elements=st.floats(-9, 9))),
    st.one_of(ANY, st.floats(0, 1)), st.one_of(ANY, st.floats(0, 1)),
)
def test_points_and_tolerances_are_checked(at, rtol, confidence):
    """No call gets as far as the compiler unless all three are right."""
    class Stop(Exception):
        pass

    def stop(*_, **__):
        raise Stop

    patch = pytest.MonkeyPatch()
    patch.setattr("uncurse._loop.Run.go", stop)
    try:
        uc.solve(PLAIN, at, rtol=rtol, confidence=confidence, progress=False)
    except (ValueError, TypeError) as error:
        named(error, "at", "rtol", "confidence")
    except Stop:
        points, r, c = np.asarray(at, float), float(np.asarray(rtol)), float(np.asarray(confidence))
        assert points.shape[-1] == 2 and points.ndim in (1, 2) and points.size and np.isfinite(points).all()
        assert 0 < r < np.inf and 0 < c < 1
    finally:
        patch.undo()


PLAIN = problem(process=uc.Brownian(2, 1.0))


@MANY
@given(st.sampled_from(["source", "terminal"]), st.lists(st.integers(0, 3), max_size=3), st.sampled_from(
    [np.float32, np.int32, np.complex64, np.bool_]))
def test_functions_of_any_shape_and_kind_are_scalar_or_refused(name, shape, kind):
    function = (lambda *_: jnp.zeros(shape, kind)) if name == "source" else lambda x: jnp.zeros(shape, kind)
    if not shape and kind is np.float32:
        assert problem(**{name: function}).dim == 3
        return
    with pytest.raises((ValueError, TypeError), match=name):
        problem(**{name: function})
