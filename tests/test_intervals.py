"""Interval enclosures: they hold, they are tight where that is known, and they claim nothing that is false."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uncurse.analysis._intervals import NotEnclosed, TooLarge, enclose, is_continuous, is_smooth
from uncurse.analysis._ranges import curvature_bound, slope_bounds, solution_reach, terminal_range
from uncurse.problems import ParabolicPDE, SourceBounds
from uncurse.processes import Brownian

INF = np.inf
REAL = (-INF, INF)


def problem(source=None, terminal=lambda x: 1 / (2 + 0.4 * jnp.sum(x**2)), dim=100, horizon=0.3, **more):
    return ParabolicPDE(process=Brownian(dim, 1.0), source=source, terminal=terminal, horizon=horizon, **more)


def solution_range(case):
    found = solution_reach(case)
    return None if found is None else found.always


def of_u(f, **more):
    return problem(lambda t, x, u, grad: f(u), **more)


def whole(dim):
    return np.full(dim, -INF), np.full(dim, INF)


EVERYWHERE = ["sin", "cos", "cbrt", "tanh", "arctan", "arcsinh", "abs", "sign", "floor", "square"]
WITHIN = {
    "tan": (-1.5, 1.5), "exp": (-50, 50), "exp2": (-50, 50), "expm1": (-50, 50), "log": (1e-6, 1e6), "arccosh": (1, 99),
    "sqrt": (0, 1e6), "arcsin": (-1, 1), "arccos": (-1, 1), "sinh": (-20, 20), "cosh": (-20, 20), "log1p": (-0.99, 1e6),
    "arctanh": (-0.99, 0.99),
}
ARITHMETIC = {
    "cube": (lambda v: v**3, REAL), "fourth": (lambda v: v**4, REAL), "float power": (lambda v: v**3.0, REAL),
    "inverse": (lambda v: 1 / v, (0.01, 50)), "inverse square": (lambda v: v**-2.0, (-50, -0.01)),
    "power": (lambda v: v**2.5, (0, 50)), "base": (lambda v: 1.5**v, (-50, 50)),
    "indicator": (lambda v: 1.0 * ((v >= 0) & (v < 1)), REAL), "over": (lambda v: (v + 1) / (2 + v * v), REAL),
}
UNARY = {   # name: (in JAX, the same in NumPy, the domain)
    **{name: (getattr(jnp, name), getattr(np, name), REAL) for name in EVERYWHERE},
    **{name: (getattr(jnp, name), getattr(np, name), domain) for name, domain in WITHIN.items()},
    **{name: (f, f, domain) for name, (f, domain) in ARITHMETIC.items()},
    "relu": (jax.nn.relu, lambda v: np.maximum(v, 0), REAL), "rsqrt": (jax.lax.rsqrt, lambda v: v**-0.5, (1e-6, 1e6)),
    "sigmoid": (jax.nn.sigmoid, lambda v: 1 / (1 + np.exp(-v)), (-30, 30)),
    "clip": (lambda v: jnp.clip(v, -1, 2), lambda v: np.clip(v, -1, 2), REAL),
    "clamp": (lambda v: jax.lax.clamp(0.25, v, 1.0), lambda v: np.clip(v, 0.25, 1), REAL),
    "softplus": (jax.nn.softplus, lambda v: np.logaddexp(v, 0), REAL),
    "where": (lambda v: jnp.where(v > 0.5, v, -2 * v), lambda v: np.where(v > 0.5, v, -2 * v), REAL),
}


@pytest.mark.parametrize("name", UNARY)
def test_single_operations_contain_their_values(name):
    function, reference, (low, high) = UNARY[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    ends = np.sort(np.clip(rng.choice([0.3, 3.0, 20.0], (2, 400)) * rng.normal(size=(2, 400)), low, high), axis=0)
    boxes = np.concatenate([ends, np.tile(ends[:1], (2, 1))], axis=1)       # proper ones and single points
    found = enclose(function, tuple(boxes))
    inside = boxes[0] + rng.uniform(size=(50, 800)) * (boxes[1] - boxes[0])
    values = reference(np.concatenate([np.clip(inside, *boxes), boxes]))
    assert np.all(found.low <= values) and np.all(values <= found.high)
    span = (found.high - found.low)[400:]
    if name != "over":
        assert np.all(span <= 1e-10 * (1 + np.abs(values[0, 400:])))        # tight at single points


@pytest.mark.parametrize("name", ["sin", "cos", "exp", "tanh", "arctan", "square", "cube", "abs", "clip", "softplus"])
def test_tight_on_proper_boxes(name):
    function, reference, _ = UNARY[name]
    for low, high in [(-2.0, 3.0), (0.2, 1.0), (-7.0, -1.5), (-1.0, 0.5)]:
        found, values = enclose(function, (low, high)), reference(np.linspace(low, high, 20001))
        slack = 3.0 if name == "softplus" else 1e-3                         # a difference of dependent terms
        assert values.min() - slack < found.low <= values.min()
        assert values.max() <= found.high < values.max() + slack


def test_infinite_boxes():
    assert np.isneginf(enclose(lambda u: u + 1, REAL).low)
    assert enclose(jnp.exp, (-INF, 0.0)).low >= 0
    one = enclose(lambda x: 1 / (1 + x @ x), whole(7))
    assert 0 <= one.low < 1e-300 and 1 <= one.high < 1 + 1e-9
    for f in (lambda u: u * (u - 1), lambda u: (u - 1) * jnp.exp(u), lambda u: u - 2 * u, lambda u: u / (1 + u * u)):
        found = enclose(f, REAL)
        assert not np.isnan(found.low) and not np.isnan(found.high) and found.low < -0.2 and found.high > 0.2
    assert enclose(lambda u: 0.0 * u, REAL).low == enclose(lambda u: 0.0 * u, REAL).high == 0
    assert enclose(lambda u: jnp.clip(jnp.exp(jnp.exp(u)), 0, 5), (0.0, 100.0)).high == 5
    found = enclose(lambda u: jnp.exp(u) * jnp.exp(-u), (-800.0, -800.0))       # an underflow is not 0
    assert found.low <= 1 <= found.high
    assert enclose(lambda u: u**40 * 1e30, (1e-20, 1e-20)).high > 0
    assert enclose(lambda u: jnp.where(jnp.isfinite(jnp.exp(u)), 0.0, 1.0), (0.0, 200.0)).high == 1
    for f in (lambda u: u < 1, lambda u: u <= 0, lambda u: u > 0, lambda u: u >= 1, lambda u: u == 0, lambda u: u != 1):
        truth = enclose(f, (0.0, 1.0))                                          # true at one end, false at the other
        assert truth.low == 0 and truth.high == 1


def test_a_variable_twice():
    x = np.full(5, -2.0), np.full(5, 3.0)
    for f in (lambda x: x @ x, lambda x: jnp.vdot(x, x), lambda x: jnp.sum(x * x), lambda x: jnp.sum(x**2)):
        found = enclose(f, x)
        assert found.low == 0 and 45 <= found.high < 45 + 1e-9
    for f, low in ((lambda x: -x @ x, -45), (lambda x: -0.5 * x @ x, -22.5), (lambda x: (2 * x) @ (-x), -90)):
        found = enclose(f, x)
        assert found.high == 0 and low - 1e-9 < found.low <= low
    different = enclose(lambda x, y: x @ y, x, x)                           # equal boxes are not equal variables
    assert different.low <= -30 and different.high >= 45
    assert enclose(lambda x: x[:2] @ x[2:4], x).low <= -12 and enclose(lambda x: jnp.outer(x, x), x).low[0, 1] <= -6


def test_arrays():
    rng, low = np.random.default_rng(0), np.full(6, -1.0)
    points = rng.uniform(-1, 1, (200, 6))
    matrix, index = rng.normal(size=(6, 6)).astype(np.float32), np.array([4, 0, 4])
    functions = {
        "matvec": (lambda x: matrix @ x, lambda x: matrix.astype(np.float64) @ x),
        "quadratic": (lambda x: x @ (matrix @ x), lambda x: x @ (matrix.astype(np.float64) @ x)),
        "gather": (lambda x: x[index] * jnp.arange(3), lambda x: x[index] * np.arange(3)),
        "scatter": (lambda x: x.at[2].set(5.0), lambda x: np.where(np.arange(6) == 2, 5.0, x)),
        "slice": (lambda x: x[1:5:2] - x[0], lambda x: x[1:5:2] - x[0]), "rev": (lambda x: x[::-1], lambda x: x[::-1]),
        "dynamic": (lambda x: jax.lax.dynamic_slice(x, (2,), (3,)), lambda x: x[2:5]),
        "pad": (lambda x: jnp.pad(x, 1), lambda x: np.pad(x, 1)), "max": (jnp.max, np.max), "min": (jnp.min, np.min),
        "prod": (lambda x: jnp.prod(x[:5]), lambda x: np.prod(x[:5])), "cumsum": (jnp.cumsum, np.cumsum),
        "mean": (jnp.mean, np.mean), "var": (jnp.var, np.var), "norm": (jnp.linalg.norm, np.linalg.norm),
        "count": (lambda x: 1.0 * jnp.sum(x > 0), lambda x: 1.0 * np.sum(x > 0)),
        "stack": (lambda x: jnp.stack([x, 2 * x]).T.reshape(-1), lambda x: np.stack([x, 2 * x]).T.reshape(-1)),
        "grid": (lambda x: jnp.linspace(0, 1, 6) * x, lambda x: np.linspace(0, 1, 6) * x),
        "roll": (lambda x: jnp.roll(x, 2), lambda x: np.roll(x, 2)),
    }
    for f, reference in functions.values():
        found = enclose(f, (low, -low))
        values = np.stack([reference(p) for p in points])
        assert (found.low <= values + 1e-7).all() and (values <= found.high + 1e-7).all() and found.high.max() < 99


def test_what_has_no_enclosure_says_so():
    for f, box in [
        (lambda u: 1 / u, (-1.0, 1.0)), (lambda u: 1 / u, (0.0, 1.0)), (jnp.log, (0.0, 1.0)), (jnp.sqrt, (-1.0, 1.0)),
        (jnp.tan, (1.0, 2.0)), (lambda u: u**-2, (-1.0, 1.0)), (lambda u: u**0.5, (-1, 1)), (jnp.arctanh, (0.0, 1.0)),
        (jnp.arcsin, (0.0, 1.1)), (jnp.round, (0.0, 3.0)), (lambda u: u % 1.0, (0.0, 2.0)), (jnp.arccosh, (0.0, 2.0)),
        (lambda u: jax.lax.fori_loop(0, 100, lambda i, v: v * u, 1.0), (0.0, 1.0)),
        (lambda u: u.astype(int) * 1.0, (0.0, 2.0)), (lambda u: jnp.real((u + 1j) ** 2), (0.0, 1.0)),
    ]:
        with pytest.raises(NotEnclosed):
            enclose(f, box)
    with pytest.raises(TooLarge):
        enclose(lambda x: jnp.sum(x[:, None] * x[None, :] + 1), whole(2000))
    with pytest.raises(ValueError, match="low <= high"):
        enclose(jnp.sin, (1.0, 0.0))
    assert enclose(lambda u: u + jnp.sort(jnp.array([3.0, 2.0]))[0], (0.0, 1.0)).high == pytest.approx(3)
    assert enclose(lambda u, x: u + jnp.size(jnp.sort(x)), (0.0, 1.0), whole(4)).high < 5.1     # not used, no harm


SMOOTH = ["sin", "cos", "tanh", "arctan", "square", "cube", "over"]
SAFE = [*SMOOTH, "abs", "clip", "sigmoid", "relu", "where", "indicator", "clamp", "floor"]


def trees(names):
    leaf = st.one_of(st.just(("u",)), st.tuples(st.just("number"), st.sampled_from([-2.0, -0.5, 0.25, 1.0, 1.5])))
    return st.recursive(leaf, lambda inner: st.one_of(
        st.tuples(st.sampled_from(names), inner),
        st.tuples(st.sampled_from(["add", "sub", "mul", "max", "over square"]), inner, inner),
    ), max_leaves=6)


def value(tree, u, library):
    head, *rest = tree
    if head == "u":
        return u
    if head == "number":
        return rest[0] + 0 * u
    parts = [value(branch, u, library) for branch in rest]
    if head in UNARY:
        return UNARY[head][0 if library is jnp else 1](parts[0])
    if head == "over square":
        return parts[0] / (1 + parts[1] * parts[1])
    return {"add": library.add, "sub": library.subtract, "mul": library.multiply, "max": library.maximum}[head](*parts)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(trees(SAFE), st.floats(-3, 3), st.floats(0, 3))
def test_compositions_contain_their_values(tree, low, width):
    found = enclose(lambda u: value(tree, u, jnp), (low, low + width))
    values = value(tree, np.linspace(low, low + width, 501), np)
    slack = 1e-9 * (1 + np.abs(values).max())
    assert found.low <= values.min() + slack and values.max() <= found.high + slack


@settings(max_examples=80, deadline=None, derandomize=True)
@given(trees(SAFE) | trees([*SMOOTH, "abs", "relu"]))
def test_slopes_and_curvatures_bound_all_differences(tree):
    case, u = of_u(lambda u: value(tree, u, jnp), dim=2), np.linspace(-1, 1.5, 2001)
    slope, curvature = slope_bounds(case, (-1.0, 1.5)), curvature_bound(case, (-1.0, 1.5))
    values = value(tree, u, np)
    first, second = np.diff(values) / np.diff(u), np.abs(np.diff(values, 2)).max() / (u[1] - u[0]) ** 2
    if slope is not None:
        slack = 1e-6 * (1 + np.abs(first).max())
        assert slope[0] <= first.min() + slack and first.max() <= slope[1] + slack
    if curvature is not None:
        assert second <= curvature * (1 + 1e-6) + 1e-7 * (1 + np.abs(values).max())


@jax.custom_jvp
def liar(u):
    return jnp.sin(5 * u)


@liar.defjvp
def _(primals, tangents):
    return liar(primals[0]), 0.0 * tangents[0]


KINKED = {
    "minimum": lambda u: jnp.minimum(1.0, u), "clip": lambda u: jnp.clip(u, 0, 1), "abs": jnp.abs, "relu": jax.nn.relu,
    "norm": lambda u: jnp.sqrt(u * u), "root": lambda u: (u**2) ** 0.5, "power": lambda u: (u * u) ** 1.5,
    "softplus": jax.nn.softplus, "logaddexp": lambda u: jnp.logaddexp(u, -u),
    "array": lambda u: jnp.max(jnp.stack([u, -u])),
}
JUMPING = {
    "where": lambda u: jnp.where(u > 0, 1.0, 0.0), "continuous where": lambda u: jnp.where(u > 0, u, 0.0),
    "logic": lambda u: jnp.where((u > 0) & (u < 1), 1.0, 0.0), "indicator": lambda u: (u > 0) * 1.0,
    "sign": jnp.sign, "floor": jnp.floor, "round": jnp.round, "mod": lambda u: u % 1.0,
    "truth": lambda u: 1.0 * u.astype(bool), "integer": lambda u: u.astype(jnp.int32) * 1.0,
    "pole": lambda u: jnp.clip(1 / u, -1, 1), "angle": lambda u: jnp.arctan(1 / u),
    "tanh pole": lambda u: jnp.tanh(1 / u), "tan": lambda u: jnp.clip(jnp.tan(3 * u), -1, 1),
    "log": lambda u: jnp.maximum(jnp.log(u * u), -3.0), "argmax": lambda u: jnp.argmax(jnp.stack([u, -u])) * 1.0,
    "index": lambda u: jnp.arange(4.0)[jnp.clip(jnp.int32(u), 0, 3)],
    "cond": lambda u: jax.lax.cond(u > 0, lambda v: v, lambda v: -v, u),
    "while": lambda u: jax.lax.while_loop(lambda v: v < 1, lambda v: v + 1, jax.lax.stop_gradient(u)),
    "loop": lambda u: jax.lax.fori_loop(0, 3, lambda i, v: jnp.where(v < 1, v + 1, v), u),
    "finite": lambda u: jnp.where(jnp.isfinite(1e30 * u * 1e9), u, -u),
    "interp": lambda u: jnp.interp(u, jnp.arange(3.0), jnp.array([0.0, 5.0, 1.0])),
    "sort": lambda u: jnp.sort(jnp.stack([u, -u]))[0],
    "straight through": lambda u: u + jax.lax.stop_gradient(jnp.round(u) - u),
}


@pytest.mark.parametrize("name", [*KINKED, *JUMPING])
def test_kinks_are_seen(name):
    f = {**KINKED, **JUMPING}[name]
    assert not is_smooth(f, 0, [()])
    assert curvature_bound(of_u(f), (-1.0, 1.0)) is None
    assert is_continuous(f, 0, [()]) == (name in KINKED)
    if name in JUMPING:
        assert slope_bounds(of_u(f), (-1.0, 1.0)) is None


def test_only_the_chosen_argument_counts():
    f = lambda u, v: jnp.abs(u) * jnp.sin(v) + jnp.where(u > 0, v, 2 * v)     # noqa: E731
    assert not is_continuous(f, 0, [(), ()]) and is_smooth(f, 1, [(), ()])
    norm = lambda z, u: u + jnp.sqrt(jnp.sum(z**2))                           # noqa: E731
    assert not is_smooth(norm, 0, [(3,), ()]) and is_continuous(norm, 0, [(3,), ()]) and is_smooth(norm, 1, [(3,), ()])
    assert is_smooth(lambda z: jnp.sqrt(1 + jnp.sum(z**2)), 0, [(3,)])
    assert slope_bounds(of_u(jax.nn.relu), (1.0, 2.0)) == pytest.approx((1, 1))
    assert curvature_bound(of_u(lambda u: (1 + u * u) ** 1.5), (-1.0, 1.0)) < 20
    assert is_smooth(lambda u: u / (1 + u**2) + jnp.exp(-(u**2.0)), 0, [()])
    assert not is_smooth(lambda u: 1 / u, 0, [()])
    assert is_smooth(lambda u: 1 / u + jnp.log(u), 0, [()], [(0.5, 2.0)])


def test_dishonest_derivatives_are_not_believed():
    for f, least in ((lambda u: u * jax.lax.stop_gradient(u), 2), (liar, 4.5)):
        low, high = slope_bounds(of_u(f), (-1.0, 1.0))
        assert low <= -least and high >= least
    assert curvature_bound(of_u(jax.jit(liar)), (-2.0, 2.0)) == pytest.approx(25, rel=1e-3)
    for f in (jax.checkpoint(jnp.sin), jax.jit(jnp.sin), jax.grad(lambda v: -jnp.cos(v))):
        assert curvature_bound(of_u(f), (-2.0, 2.0)) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("f", [
    jnp.sqrt, lambda u: jnp.sqrt(jnp.abs(u)), lambda u: jnp.cbrt(u), lambda u: u * jnp.log(u), lambda u: jnp.exp(1 / u),
    lambda u: u**0.5, jnp.arcsin, lambda u: u**u, lambda u: jnp.sqrt(1 - u * u), lambda u: jnp.abs(u) ** 0.75,
    lambda u: jnp.clip(jnp.sqrt(u), 0, 0.5),
])
def test_unbounded_slopes_are_not_bounded(f):
    assert slope_bounds(of_u(f), (0.0, 1.0)) is None


@pytest.mark.parametrize("dim", [3, 100, 10_000])
def test_allen_cahn(dim):
    case = of_u(lambda u: u - u**3, dim=dim)
    low, high = solution_range(case)
    exact = 1 / np.sqrt(1 + 3 * np.exp(-0.6))                               # y' = y - y^3 from 1/2
    assert low == 0 and exact <= high < exact + 0.002
    slope = slope_bounds(case, (low, high))
    assert slope[0] <= 1 - 3 * high**2 < slope[0] + 0.01 and 1 <= slope[1] < 1.0001
    assert 6 * high <= curvature_bound(case, (low, high)) < 6 * high + 1e-6


def test_sine_gordon_and_semilinear_heat():
    low, high = solution_range(of_u(jnp.sin))
    exact = 2 * np.arctan(np.tan(0.25) * np.exp(0.3))                       # y' = sin y from 1/2
    assert low == 0 and exact <= high < exact + 0.002
    slope = slope_bounds(of_u(jnp.sin), (low, high))
    assert slope[0] <= np.cos(high) < slope[0] + 1e-3 and 1 <= slope[1] < 1.0001
    assert np.sin(high) <= curvature_bound(of_u(jnp.sin), (low, high)) < np.sin(high) + 1e-6
    heat = of_u(lambda u: (1 - u**2) / (1 + u**2))
    low, high = solution_range(heat)
    y = 0.5
    for _ in range(3000):
        y += 1e-4 * (1 - y * y) / (1 + y * y)
    assert low == 0 and y - 1e-4 <= high < y + 0.002
    u = np.linspace(low, high, 1001)
    slope, curvature = -4 * u / (1 + u**2) ** 2, np.abs(4 * (3 * u**2 - 1) / (1 + u**2) ** 3)
    found = slope_bounds(heat, (low, high))
    assert found[0] <= slope.min() < found[0] + 0.01 and -1e-9 <= slope.max() <= found[1] < slope.max() + 0.01
    assert curvature.max() <= curvature_bound(heat, (low, high)) < curvature.max() + 0.05


def test_default_risk_and_different_rates():
    default = of_u(lambda u: -(1 / 3) * jnp.clip((u - 50) * (0.02 - 0.2) / 20 + 0.2, 0.02, 0.2) * u - 0.02 * u)
    (low, high), u = slope_bounds(default, REAL), np.linspace(-100, 200, 300_001)
    f = -(1 / 3) * np.clip((u - 50) * -0.009 + 0.2, 0.02, 0.2) * u - 0.02 * u
    quotients = np.diff(f) / np.diff(u)
    assert low <= quotients.min() + 1e-6 < low + 0.05 and quotients.max() - 1e-6 <= high < quotients.max() + 0.05
    assert curvature_bound(default, REAL) is None
    rates = problem(lambda t, x, u, z: -0.04 * u - 0.1 * jnp.sum(z) + 0.02 * jnp.maximum(0.0, jnp.sum(z) / 0.2 - u))
    assert slope_bounds(rates, REAL) == pytest.approx((-0.06, -0.04), abs=1e-6)


def test_sources_of_point_and_gradient():
    reaction = problem(lambda t, x, u, z: jnp.minimum(1.0, (u - 1.6 - jnp.sin(jnp.sum(x)) * jnp.exp(t - 1)) ** 2))
    low, high = slope_bounds(reaction, (0.4, 2.8))
    assert low <= -2 and high >= 2 and max(-low, high) < 6
    assert curvature_bound(reaction, (0.4, 2.8)) is None
    for unbounded in (lambda t, x, u, z: (u - 0.5) * jnp.sum(z), lambda t, x, u, z: u * x[0]):
        assert slope_bounds(problem(unbounded), (0.0, 1.0)) is None
    assert slope_bounds(problem(lambda t, x, u, z: jnp.where(x[0] > 0, u, -u)), (0.0, 1.0)) == pytest.approx((-1, 1))
    assert slope_bounds(problem(lambda t, x, u, z: jnp.where(x[0] > u, u, -u)), (0.0, 1.0)) is None
    growing = problem(lambda t, x, u, z: jnp.exp(t) * u - jnp.argmax(x))     # argmax has no rule, and does not matter
    assert slope_bounds(growing, (0.0, 1.0)) == pytest.approx((1, np.exp(0.3)))
    assert slope_bounds(problem(), (0.0, 1.0)) == (0, 0) and curvature_bound(problem(), (0.0, 1.0)) == 0
    hamilton = problem(lambda t, x, u, z: -jnp.sum(z**2))
    assert solution_range(hamilton) == pytest.approx((0, 0.5)) and slope_bounds(hamilton, (0.0, 1.0)) == (0, 0)


def test_terminal_ranges():
    assert terminal_range(problem()) == pytest.approx((0, 0.5))
    for g in (lambda x: jnp.exp(-x @ x), lambda x: jnp.exp(-jnp.sum(x**2) / 2)):
        assert terminal_range(problem(terminal=g)) == pytest.approx((0, 1))
    low, high = terminal_range(problem(terminal=lambda x: jnp.log((1 + jnp.sum(x**2)) / 2)))
    assert low == pytest.approx(-np.log(2)) and high == INF
    assert terminal_range(problem(terminal=jnp.min)) is None
    assert terminal_range(problem(terminal=jnp.min), positive=True) == (0, INF)
    assert terminal_range(problem(terminal=lambda x: jnp.sin(jnp.sum(x)))) == (-1, 1)
    assert terminal_range(problem(terminal=lambda x: 1 / x[0])) is None
    assert terminal_range(problem(terminal=lambda x: jnp.tanh(1 / x[0]))) is None
    assert terminal_range(problem(terminal=lambda x: jnp.clip(jnp.round(x[0]), 0, 1))) is None
    put = problem(terminal=lambda x: jnp.maximum(1 - jnp.max(x), 0.0))
    assert terminal_range(put, positive=True) == pytest.approx((0, 1)) and terminal_range(put) == (0, INF)


def test_solution_ranges_that_escape_or_cannot_be_proved():
    explosive = of_u(lambda u: u**2, terminal=lambda x: 1 + jnp.sin(x[0]), horizon=1.0)     # y = 1/(1/2 - t)
    assert solution_range(explosive) is None
    assert solution_range(of_u(lambda u: u**2, horizon=1.0))[1] == pytest.approx(1.0, rel=0.05)
    assert solution_range(of_u(lambda u: u, terminal=jnp.min)) is None
    assert solution_range(of_u(lambda u: jnp.sqrt(jnp.abs(u)))) is None     # not Lipschitz: not unique
    assert solution_range(of_u(lambda u: jnp.where(u > 0.2, 1.0, 0.0))) is None
    assert solution_range(problem(lambda t, x, u, z: u * x[0])) is None
    assert solution_range(problem(lambda t, x, u, z: jnp.where(z[0] > 0, 1.0, 2.0))) is None
    burgers = problem(lambda t, x, u, z: u + 1e3 * jnp.sum(z) * u)           # grad u does not matter
    assert solution_range(burgers) == pytest.approx((0, 0.5 * np.exp(0.3)), abs=3e-3)
    forced = problem(lambda t, x, u, z: jnp.sin(x[0]) - u, horizon=2.0)      # u between y' = -1 - y and 1 - y
    assert solution_range(forced) == pytest.approx((-1 + np.exp(-2), 1 - 0.5 * np.exp(-2)), abs=0.01)
    low, high = solution_range(of_u(lambda u: 3 * jnp.cos(u), terminal=lambda x: 1 + 0 * x[0], horizon=5.0))
    assert low == pytest.approx(1) and np.pi / 2 - 0.01 <= high < np.pi / 2 + 0.05
    low, high = solution_range(of_u(lambda u: -5.0 * u, horizon=1.0))
    assert low == 0 and high == pytest.approx(0.5)                          # it holds at the end, where u = g, too


def test_a_declared_range_takes_precedence():
    low, high = solution_range(of_u(lambda u: u - u**3, bounds=SourceBounds(value_range=(0.01, 5.0))))
    assert low == 0.01 and high < 0.62
    assert solution_range(of_u(lambda u: u**2, terminal=jnp.min, bounds=SourceBounds(value_range=(0, 2)))) == (0, 2)


def called(u):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float32), u, vmap_method="sequential")


@pytest.mark.parametrize("f", [
    lambda x, u: u * jax.random.normal(jax.random.key(1)), lambda x, u: jax.lax.fori_loop(0, 3, lambda i, v: v * u, u),
    lambda x, u: jnp.polyval(jnp.array([1.0, 2.0]), u), lambda x, u: jax.scipy.special.gammaln(1 + u * u),
    lambda x, u: called(jax.lax.stop_gradient(u)) * u,
    lambda x, u: jnp.sort(x)[0] * u, lambda x, u: jnp.linalg.det(jnp.eye(5) * u), lambda x, u: jnp.inf * u,
    lambda x, u: jnp.abs(jnp.fft.fft(x)[0]) * u, lambda x, u: u * jnp.nan, lambda x, u: jnp.sum(jnp.exp(x * u)),
])
def test_what_cannot_be_proved_is_none_and_does_not_raise(f):
    case = problem(lambda t, x, u, z: f(x, u), dim=4)
    assert solution_range(case) is None and slope_bounds(case, (0.0, 1.0)) is None
    assert curvature_bound(case, (0.0, 1.0)) in (None, 0.0)


def test_fast():
    for dim, limit in ((100, 1.0), (10_000, 1.5)):
        case = problem(lambda t, x, u, z: u - u**3 + jnp.exp(-jnp.sum(x**2)) * jnp.cos(t), dim=dim)
        began, reach = time.perf_counter(), solution_range(case)
        assert reach is not None and slope_bounds(case, reach) and curvature_bound(case, reach)
        assert time.perf_counter() - began < limit                          # about 0.1 s; generous on a busy machine


def test_f_need_only_be_defined_where_u_goes():
    entropy = of_u(lambda u: -2 * u * jnp.log(u), terminal=lambda x: 0.2 + 0.1 * jnp.cos(x[0]), horizon=1.0)
    low, high = solution_range(entropy)
    flow = lambda u: u ** np.exp(-2.0)                                      # noqa: E731
    assert low == pytest.approx(0.1) and flow(0.3) <= high < flow(0.3) + 0.02
    least, most = solution_reach(entropy).initial
    assert flow(0.1) - 0.005 <= least <= flow(0.1) and most == high
    falling = of_u(lambda u: jnp.sqrt(u) - 2, terminal=lambda x: 0.2 + 0.1 * jnp.cos(x[0]), horizon=1.0)
    assert solution_range(falling) is None                                  # u would leave the domain of the root


def test_the_range_at_the_start_is_sharper():
    case = of_u(lambda u: u - u**3, terminal=lambda x: 0.5 + 0.3 * jnp.cos(x[0]), horizon=20.0)
    (low, high), (least, most) = solution_reach(case)
    assert low == pytest.approx(0.2) and 1 <= high < 1.03 and 0.99 < least < 1 and most == high
    damped = solution_reach(of_u(lambda u: -u, horizon=1.0))                # u <= exp(-1)/2
    assert damped.always[1] == pytest.approx(0.5) and np.exp(-1) / 2 <= damped.initial[1] < np.exp(-1) / 2 + 1e-3
