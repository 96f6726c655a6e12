"""What is proved of a source from its trace: all that is true in easy cases, nothing that is false in the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uncurse.analysis import analyse
from uncurse.analysis._shape import shape_in
from uncurse.problems import ParabolicPDE, SourceBounds
from uncurse.processes import Brownian, GeometricBrownian, OrnsteinUhlenbeck

D = 3
ONE, VECTOR = jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((D,), np.float32)
INPUTS = (ONE, VECTOR, ONE, VECTOR)
A = np.array([1.0, -2.0, 0.5], dtype=np.float32)
M = np.array([[1.0, 0.3, 0.0], [0.0, 0.8, -0.2], [0.4, 0.0, 1.2]], dtype=np.float32)


def shape(f, chosen=(2, 3)):
    return shape_in(f, INPUTS, chosen)


def flags(found):
    return {name for name in ("independent", "affine", "convex", "concave", "smooth") if getattr(found, name)}


EVERYTHING = {"independent", "affine", "convex", "concave", "smooth"}
AFFINE = {"affine", "convex", "concave", "smooth"}
SHAPES = {      # in (u, grad): f, and exactly what is true of it
    "no u": (lambda t, x, u, p: jnp.sin(t) * x @ x, EVERYTHING),
    "affine": (lambda t, x, u, p: -0.05 * u + x @ p + jnp.exp(t), AFFINE),
    "affine through shapes": (lambda t, x, u, p: jnp.sum(jnp.reshape(A * p, (1, D))[:, ::-1]) - p[1] + u / 3, AFFINE),
    "affine, chosen by x": (lambda t, x, u, p: jnp.where(x[0] > 0, 2 * u, p[0]), AFFINE),
    "affine, scaled by x": (lambda t, x, u, p: jnp.abs(x[0]) * u, AFFINE),
    "norm": (lambda t, x, u, p: p @ p, {"convex", "smooth"}),
    "minus norm": (lambda t, x, u, p: -0.5 * jnp.sum(p**2), {"concave", "smooth"}),
    "product": (lambda t, x, u, p: jnp.sum(p * p), {"convex", "smooth"}),
    "negative times concave": (lambda t, x, u, p: -2.0 * (-(u**2) + u), {"convex", "smooth"}),
    "cube": (lambda t, x, u, p: u**3, {"smooth"}),
    "allen-cahn": (lambda t, x, u, p: u - u**3, {"smooth"}),
    "difference of norms": (lambda t, x, u, p: p @ p - u**2, {"smooth"}),
    "bilinear": (lambda t, x, u, p: u * jnp.sum(p), {"smooth"}),
    "product of two": (lambda t, x, u, p: p[0] * p[1], {"smooth"}),
    "norm times a sign": (lambda t, x, u, p: x[0] * p @ p, {"smooth"}),
    "norm times a square": (lambda t, x, u, p: x[0] ** 2 * (p @ p), {"convex", "smooth"}),
    "exp of convex": (lambda t, x, u, p: jnp.exp(u**2), {"convex", "smooth"}),
    "exp of concave": (lambda t, x, u, p: jnp.exp(-(u**2)), {"smooth"}),
    "sine": (lambda t, x, u, p: jnp.sin(u), {"smooth"}),
    "rounded": (lambda t, x, u, p: u.astype(jnp.int32).astype(jnp.float32), set()),
}
KINKED = {      # f, and all that may be claimed of it
    "abs": (lambda t, x, u, p: jnp.abs(p[0]), {"convex"}),
    "1-norm": (lambda t, x, u, p: jnp.sum(jnp.abs(p)), {"convex"}),
    "2-norm": (lambda t, x, u, p: jnp.sqrt(jnp.sum(p**2)), {"convex"}),
    "linalg norm": (lambda t, x, u, p: jnp.linalg.norm(p), {"convex"}),
    "max": (lambda t, x, u, p: jnp.maximum(u, p[0]), {"convex"}),
    "max of concave": (lambda t, x, u, p: jnp.maximum(u, -(p @ p)), set()),
    "min": (lambda t, x, u, p: jnp.minimum(u, 1.0), {"concave"}),
    "relu": (lambda t, x, u, p: jax.nn.relu(u), {"convex"}),
    "abs of convex": (lambda t, x, u, p: jnp.abs(u**2 - 1), set()),
    "square of abs": (lambda t, x, u, p: jnp.abs(u) ** 3, {"convex"}),
    "where on u": (lambda t, x, u, p: jnp.where(u > 0, u, 2 * u), {"concave"}),
    "where with a jump": (lambda t, x, u, p: jnp.where(p[0] > 0, u, u + 1.0), set()),
    "clip": (lambda t, x, u, p: jnp.clip(u, 0.0, 1.0), set()),
    "floor": (lambda t, x, u, p: jnp.floor(u), set()),
    "root": (lambda t, x, u, p: jnp.sqrt(jnp.abs(u)), set()),
    "power": (lambda t, x, u, p: (u**2) ** 0.25, set()),
    "cond": (lambda t, x, u, p: jax.lax.cond(u > 0, lambda v: v, lambda v: 3 * v, u), {"convex"}),
    "scan": (lambda t, x, u, p: jax.lax.fori_loop(0, 3, lambda i, v: v * u, u), {"smooth"}),
    "stop": (lambda t, x, u, p: jax.lax.stop_gradient(u) * p[0], {"smooth"}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_proved(name):
    f, true = SHAPES[name]
    assert flags(shape(f)) == true


@pytest.mark.parametrize("name", KINKED)
def test_no_kink_or_shape_is_overlooked(name):
    f, allowed = KINKED[name]
    assert flags(shape(f)) <= allowed


def test_kinks_of_the_common_kind_are_known_to_be_convex():
    for name in ("abs", "1-norm", "max", "relu"):
        assert shape(KINKED[name][0]).convex, name
    assert shape(KINKED["min"][0]).concave


def test_arguments_are_told_apart():
    f = lambda t, x, u, p: jnp.sin(u) * x[0] + p @ p + t * p[0]      # noqa: E731
    assert not shape(f, (0,)).independent and shape(f, (0,)).affine
    assert shape(f, (1,)).affine and not shape(f, (1,)).independent
    assert flags(shape(f, (2,))) == {"smooth"} and flags(shape(f, (3,))) == {"convex", "smooth"}
    assert shape(lambda t, x, u, p: jnp.exp(t) + x[2], (2, 3)).independent
    assert not shape(lambda t, x, u, p: 0.0 * u + p[0] ** 2, (2, 3)).affine


PIECES = st.sampled_from([
    lambda u, p: u, lambda u, p: -1.7 * u, lambda u, p: p[0], lambda u, p: p @ p, lambda u, p: -(u**2),
    lambda u, p: 0.3, lambda u, p: jnp.abs(p[1]), lambda u, p: -jnp.abs(u), lambda u, p: jnp.exp(u),
    lambda u, p: u * p[0],
])
JOINS = st.sampled_from([jnp.maximum, jnp.minimum, jnp.add, jnp.subtract, jnp.multiply])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PIECES, PIECES, PIECES, JOINS, JOINS)
def test_claimed_shapes_hold_at_random_points(a, b, c, first, second):
    """Any claim is tried on 300 random segments: a false one would be found out by the first few."""
    f = lambda t, x, u, p: second(first(a(u, p), b(u, p)), c(u, p)) + 0.0 * u     # noqa: E731
    found = shape(f)
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(300, 2, 1 + D)) * rng.choice([0.3, 2.0], (300, 1, 1))

    def value(points):
        batch = jax.vmap(lambda v: f(0.0, A, v[0], v[1:]))
        return np.asarray(batch(jnp.asarray(points, dtype=np.float32)), dtype=np.float64)

    left, right, middle = value(ends[:, 0]), value(ends[:, 1]), value(ends.mean(axis=1))
    excess, slack = (left + right) / 2 - middle, 1e-4 * (1 + np.abs(left) + np.abs(right))
    assert not found.convex or np.all(excess >= -slack)
    assert not found.concave or np.all(excess <= slack)
    assert not found.affine or np.all(np.abs(excess) <= slack)
    assert not found.independent or np.ptp(np.concatenate([left, right, middle])) < 1e-4


# --- analyse ------------------------------------------------------------------------------------------------------


def source_of(f, process=None, bounds=None):
    process = Brownian(D, 1.0) if process is None else process
    return analyse(ParabolicPDE(
        process=process, source=f, terminal=lambda x: jnp.cos(x[0]), horizon=0.5, bounds=bounds or SourceBounds(),
    ), np.ones((1, process.dim)))


def minus_square(t, x, u, p):
    return -1.5 * jnp.sum(p**2) + x[0] * p[1] + 2.0


VOLATILITIES = {
    "number": (Brownian(D, 0.5), 0.5),
    "orthogonal": (Brownian(D, 0.5 * np.linalg.qr(M)[0]), 0.5),
    "ornstein-uhlenbeck": (OrnsteinUhlenbeck(D, 1.0, 2.0), 2.0),
}


@pytest.mark.parametrize("name", VOLATILITIES)
def test_a_quadratic_in_z_is_recognised(name):
    process, sigma = VOLATILITIES[name]
    source = source_of(minus_square, process)
    assert source.quadratic == pytest.approx(-1.5 / sigma**2, rel=1e-4)       # c in c |z|^2, z = sigma grad
    assert source.gradient_curvature.value == pytest.approx(3 / sigma**2, rel=1e-4)
    assert source.gradient_curvature.origin == "proved" and source.shape.value == "concave"
    assert source.uses_point and source.uses_gradient and not source.uses_value


@pytest.mark.parametrize("sigma", [np.array([0.5, 1.0, 2.0]), M])
def test_a_quadratic_in_grad_is_none_in_z_where_coordinates_differ(sigma):
    source = source_of(minus_square, Brownian(D, sigma))
    matrix = np.diag(sigma) if sigma.ndim == 1 else sigma
    largest = np.linalg.eigvalsh(3 * np.linalg.inv(matrix @ matrix.T))[-1]
    assert source.quadratic is None
    assert source.gradient_curvature.value == pytest.approx(largest, rel=1e-4)


def test_a_hessian_that_is_indefinite_has_no_shape_but_a_curvature():
    source = source_of(lambda t, x, u, p: p[0] * p[1] - p[2] ** 2)
    assert source.shape is None and source.quadratic is None
    assert source.gradient_curvature.value == pytest.approx(2.0, rel=1e-4)
    source = source_of(lambda t, x, u, p: p[0] ** 2 + p[0] * p[1] + p[1] ** 2 + p[2] ** 2)
    assert source.shape.value == "convex" and source.gradient_curvature.value == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 8])
def test_the_curvature_of_a_coupled_quadratic(dim):
    """-(p_i - p_j)^2 and -(sum p)^2 are quadratic, but no multiple of |z|^2: curvatures 4 and 2 d."""
    process = Brownian(dim, 1.0)
    for i in range(1, dim):
        source = source_of(lambda t, x, u, p, i=i: -((p[0] - p[i]) ** 2), process)
        assert source.quadratic is None and source.gradient_curvature.value == pytest.approx(4.0, rel=1e-4), i
    source = source_of(lambda t, x, u, p: -(jnp.sum(p) ** 2), process)
    assert source.quadratic is None and source.gradient_curvature.value == pytest.approx(2 * dim, rel=1e-4)


@pytest.mark.parametrize("process", [
    GeometricBrownian(D, 0.0, 0.3), Brownian(D, [1.0, 0.0, 1.0]), Brownian(D, M[:, :2]), Brownian(D, np.ones((D, D))),
])
def test_no_curvature_in_z_is_claimed_where_z_does_not_determine_grad(process):
    source = source_of(minus_square, process)
    assert source.quadratic is None and source.gradient_curvature is None


def test_no_curvature_where_the_hessian_varies():
    for f in (
        lambda t, x, u, p: jnp.sin(p[0]), lambda t, x, u, p: x[0] * p @ p, lambda t, x, u, p: u * p @ p,
        lambda t, x, u, p: jnp.sqrt(1 + p @ p), lambda t, x, u, p: jnp.sum(p**4), lambda t, x, u, p: t * p[0] ** 2,
    ):
        source = source_of(f)
        assert source.quadratic is None and source.gradient_curvature is None


def test_kinks_are_not_smooth_and_roots_that_stay_away_from_0_are():
    assert not source_of(lambda t, x, u, p: jnp.sqrt(p @ p)).smooth
    assert not source_of(lambda t, x, u, p: jnp.maximum(u, 0.0) ** 2 + jnp.abs(p[0])).smooth
    assert source_of(lambda t, x, u, p: jnp.sqrt(1 + p @ p)).smooth
    assert source_of(lambda t, x, u, p: 1 / (1 + u**2)).smooth


def test_ranges_slopes_and_curvatures_of_u():
    source = source_of(lambda t, x, u, p: u - u**3)
    (low, high), slope = source.value_range.value, source.slope.value
    assert source.value_range.origin == source.slope.origin == source.curvature.origin == "proved"
    assert low == pytest.approx(-1, abs=0.02) and high == pytest.approx(1, abs=0.02)      # -1 and 1 are at rest
    assert slope[0] <= -2 and slope[0] > -2.2 and 1 <= slope[1] < 1.01
    assert 6 <= source.curvature.value < 6.3
    unbounded = source_of(lambda t, x, u, p: u**2 * 10)     # blows up before T
    assert unbounded.value_range is None and unbounded.slope is None
    both = source_of(lambda t, x, u, p: jnp.sin(u) + p[0])   # df/du over all of u: not asked where grad is there
    assert both.slope is None or both.slope.value[0] <= -1 <= 1 <= both.slope.value[1]


def test_what_is_declared_comes_first_and_is_named_so():
    bounds = SourceBounds(shape="convex", value_range=(0.0, 0.5), slope=(-9.0, 9.0), curvature=7.0, gradient_slope=1.0)
    source = source_of(lambda t, x, u, p: u - u**3, bounds=bounds)
    for name in ("value_range", "slope", "curvature", "gradient_slope"):
        bound = getattr(source, name)
        assert (bound.value, bound.origin) == (getattr(bounds, name), "declared"), name
    # from the declared range, what is left out is proved there: f' = 1 - 3 u^2
    source = source_of(lambda t, x, u, p: u - u**3, bounds=SourceBounds(value_range=(0.0, 0.5)))
    assert source.value_range.origin == "declared" and source.slope.value == pytest.approx((0.25, 1.0), abs=0.01)


def test_structure_flags():
    linear = source_of(lambda t, x, u, p: -x[0] * u + t * p[0] + 1)
    assert linear.affine and linear.uses_point and linear.uses_value and linear.uses_gradient
    none = source_of(None)
    assert none.affine and not (none.uses_point or none.uses_gradient)
    mixed = source_of(lambda t, x, u, p: u * p[0])
    assert not mixed.affine and mixed.affine_in_value and mixed.affine_in_gradient and mixed.smooth
