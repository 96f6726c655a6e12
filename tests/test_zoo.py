"""Every case of the zoo: the equation, its reference by another route, and what is declared of f."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from uncurse import zoo
from uncurse.classical import grid, radial

RNG = np.random.default_rng(0)

EQUATIONS = list(zoo.equations)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


# --- exact solutions solve their equations ------------------------------------------------------------------------


def volatility(process, t, x):
    """sigma(t, x), (d, m): how x moves with the noise."""
    return jax.jacobian(lambda z: process.move(x, process.spread(t, x, z)))(jnp.zeros(process.noise_dim))


def residual(problem, u, t, x):
    """u_t + L u + f(t, x, u, grad u) at points (n,), (n, d), L from the process itself; and the size of its terms."""
    process = problem.process

    def at_one(t, x):
        u_t, grad = jax.grad(u, (0, 1))(t, x)
        sigma = volatility(process, t, x)
        generator = process.drift(t, x) @ grad + jnp.trace(sigma @ sigma.T @ jax.hessian(u, 1)(t, x)) / 2
        return u_t + generator + problem.source(t, x, u(t, x), grad), 1 + jnp.abs(u_t) + jnp.sum(grad**2)

    return jax.jit(jax.vmap(at_one))(jnp.asarray(t), jnp.asarray(x))


def hopf_cole(strength):
    """The solution of the Hamilton-Jacobi-Bellman equation on a line, by the trapezoidal rule."""
    xi = np.linspace(-9.0, 9.0, 401)
    log_weight = -(xi**2) / 2 - np.log(np.exp(-(xi**2) / 2).sum())

    def u(t, x):
        y = x[0] + jnp.sqrt(2 * (1.0 - t)) * xi
        return -jax.nn.logsumexp(log_weight - strength * jnp.log((1 + y**2) / 2)) / strength

    return u


SOLUTIONS = [
    ("quadratic-gradient", 3, {}, lambda t, x: jnp.sin((1.0 - t + jnp.sum(x**2) / 3) ** 0.4)),
    ("burgers", 3, {}, lambda t, x: jax.nn.sigmoid(t + jnp.mean(x))),
    ("reaction-diffusion", 3, {"kappa": 0.6},
     lambda t, x: 1.6 + jnp.sin(jnp.sum(x) / math.sqrt(3)) * jnp.exp((t - 1) / 2)),
    ("black-scholes-barenblatt", 3, {}, lambda t, x: jnp.exp(0.21 * (1 - t)) * jnp.sum(x**2)),
    ("hjb", 1, {"strength": 1.0}, hopf_cole(1.0)),
    ("hjb", 1, {"strength": 3.0}, hopf_cole(3.0)),
]


@pytest.mark.parametrize(("name", "dim", "parameters", "u"), SOLUTIONS)
def test_solution_solves_its_equation(name, dim, parameters, u):
    case = zoo.get(name, dim=dim, **parameters)
    horizon = case.problem.horizon
    t, x = RNG.uniform(0, 0.9, 20) * horizon, case.at + RNG.normal(size=(20, dim))
    rest, size = residual(case.problem, u, t, x)
    assert np.all(np.abs(rest) < 1e-6 * size)       # volatilities are kept in float32
    at_end = jax.vmap(lambda y: u(horizon * (1 - 1e-15), y) - case.problem.terminal(y))(jnp.asarray(x))
    assert np.all(np.abs(at_end) < 1e-6)
    tolerance = 1e-12 if name == "hjb" else 1e-14 * case.reference
    assert abs(float(u(jnp.asarray(0.0), jnp.asarray(case.at))) - case.reference) < tolerance


def test_a_wrong_sign_would_be_seen():
    name, dim, parameters, u = SOLUTIONS[0]
    problem = zoo.get(name, dim=dim, **parameters).problem
    rest, _ = residual(problem, lambda t, x: -u(t, x), [0.3], [0.5 + np.arange(3.0)])
    assert abs(float(rest[0])) > 1e-2


# --- references ---------------------------------------------------------------------------------------------------


def on_a_line(case, nodes, steps):
    """u(0, at) for d = 1 from nothing but the case's own functions, by finite differences."""
    problem, process = case.problem, case.problem.process
    drift = jax.vmap(lambda x: process.drift(0.0, x[None])[0])
    spread = jax.vmap(lambda x: volatility(process, 0.0, x[None])[0, 0])
    source = jax.jit(jax.vmap(lambda t, x, u, p: problem.source(t, x[None], u, p[None]), in_axes=(None, 0, 0, 0)))
    terminal = jax.vmap(lambda x: problem.terminal(x[None]))
    at = float(case.at[0])
    deviation = float(spread(jnp.array([at]))[0]) * math.sqrt(problem.horizon)
    low, high = at - 10 * deviation, at + 10 * deviation
    if at != 0:         # geometric, and strikes fall on nodes
        low, high = 0.1 * at, at * (4.1 if at > 1 else 16.1)
    return grid.value(
        drift, spread, lambda t, x, u, p: np.asarray(source(t, x, u, p)), terminal,
        at=at, horizon=problem.horizon, interval=(low, high), nodes=nodes, steps=steps,
    )


@pytest.mark.parametrize("name", zoo.equations)
def test_reference_on_a_line_agrees_with_finite_differences(name):
    case = zoo.get(name, dim=1)
    assert case.reference is not None
    answer = on_a_line(case, 801, 200)
    # the corner of quadratic-gradient is not smooth, and the grid converges slowly there
    tolerance = 2e-3 if name == "quadratic-gradient" else 1e-6 * max(1.0, abs(case.reference))
    assert abs(answer.value - case.reference) < tolerance, answer


@pytest.mark.parametrize("name", ["default-risk", "different-rates"])
def test_stored_values_hold_to_the_digits_claimed(name):
    case = zoo.get(name, dim=1)
    answer = on_a_line(case, 1601, 400)
    assert abs(answer.value - case.reference) < case.problem.reference.error
    assert case.problem.reference.error <= 10.0 ** (math.ceil(math.log10(case.reference)) - case.digits) / 2


LITERATURE = [      # (name, dim, parameters, printed value, relative distance that we know of)
    ("hjb", 100, {}, 4.5901, 2e-5),
    ("allen-cahn", 100, {}, 0.0528, 5e-4),
    ("semilinear-heat", 10, {}, 0.47006, 2e-3),
    ("semilinear-heat", 100, {}, 0.31674, 5e-4),
    ("semilinear-heat", 1000, {}, 0.28753, 5e-4),
    ("semilinear-heat", 10000, {}, 0.28433, 2e-4),
    ("sine-gordon", 10, {}, 0.322947, 1e-4),
    ("sine-gordon", 100, {}, 0.0528368, 6e-4),
    ("sine-gordon", 1000, {}, 0.0055896, 2e-4),
    ("sine-gordon", 10000, {}, 0.0005621, 1e-4),
    ("quadratic-gradient", 100, {}, math.sin(1), 1e-15),
    ("burgers", 50, {}, 0.5, 1e-15),
    ("reaction-diffusion", 100, {}, 1.6, 1e-15),
    ("black-scholes-barenblatt", 100, {}, 77.1049, 1e-6),
]


@pytest.mark.parametrize(("name", "dim", "parameters", "value", "distance"), LITERATURE)
def test_reference_is_near_what_is_printed(name, dim, parameters, value, distance):
    assert abs(zoo.get(name, dim=dim, **parameters).reference / value - 1) < distance


@pytest.mark.parametrize(
    ("name", "dim", "parameters", "value"),
    [
        ("hjb", 10, {}, 2.15702246482), ("hjb", 100, {}, 4.59016172460), ("hjb", 1000, {}, 6.90625515787),
        ("allen-cahn", 10, {}, 0.316512713418), ("allen-cahn", 100, {}, 0.052781357410),
        ("semilinear-heat", 10, {}, 0.469549871352), ("semilinear-heat", 100, {}, 0.316627807586),
        ("sine-gordon", 10, {}, 0.322926385336), ("sine-gordon", 100, {}, 0.052809435403),
    ],
)
def test_reference_agrees_with_earlier_computations(name, dim, parameters, value):
    case = zoo.get(name, dim=dim, **parameters)
    assert abs(case.reference - value) < 6e-12
    assert case.digits >= 11


@pytest.mark.parametrize("name", ["allen-cahn", "semilinear-heat", "sine-gordon"])
def test_radial_reference_is_of_the_source_stated(name):
    # the NumPy profile given to the referee against the JAX source given to the user
    case = zoo.get(name, dim=5)

    f = jax.jit(lambda u: case.problem.source(jnp.zeros(()), jnp.zeros(5), u, jnp.zeros(5)))     # elementwise in u
    g = jax.jit(jax.vmap(lambda r: case.problem.terminal(jnp.zeros(5).at[2].set(r))))

    def profile(u, slope):
        return np.asarray(f(u))

    def terminal(r):
        return np.asarray(g(r))

    again = radial.solve(profile, terminal, dim=5, horizon=case.problem.horizon, scale=3.0)
    assert abs(again.value - case.reference) < 1e-11


# --- what is declared of f ----------------------------------------------------------------------------------------


def value_of(problem, u, grad, t=0.4, x=None):
    x = jnp.ones(problem.dim) if x is None else x
    return problem.source(jnp.asarray(t), x, jnp.asarray(u), jnp.asarray(grad))


@pytest.mark.parametrize("name", ["allen-cahn", "semilinear-heat", "sine-gordon", "default-risk"])
def test_slope_and_curvature_are_exact(name):
    problem = zoo.get(name, dim=2).problem
    bounds = problem.bounds
    low, high = bounds.value_range or (-20.0, 200.0)
    u = jnp.linspace(low, high, 20001)
    f = jax.vmap(lambda v: value_of(problem, v, jnp.zeros(2)))
    slope = np.asarray(jax.vmap(jax.grad(lambda v: value_of(problem, v, jnp.zeros(2))))(u))
    np.testing.assert_allclose([slope.min(), slope.max()], bounds.slope, atol=1e-3)
    assert slope.min() >= bounds.slope[0] - 1e-12
    assert slope.max() <= bounds.slope[1] + 1e-12
    assert np.all(np.isfinite(f(u)))
    if bounds.curvature is not None:
        curvature = np.abs(jax.vmap(jax.grad(jax.grad(lambda v: value_of(problem, v, jnp.zeros(2)))))(u)).max()
        assert bounds.curvature * (1 - 1e-4) < curvature <= bounds.curvature * (1 + 1e-12)


@pytest.mark.parametrize("name", ["allen-cahn", "semilinear-heat", "sine-gordon"])
def test_value_range_is_the_one_of_the_ode(name):
    # sup g = 1/2, and u <= y(T), y' = f(y), y(0) = 1/2: attained where g is flat
    problem = zoo.get(name, dim=2).problem
    low, high = problem.bounds.value_range

    def f(s, y):
        return [float(value_of(problem, y[0], jnp.zeros(2)))]

    top = solve_ivp(f, (0, problem.horizon), [0.5], rtol=1e-10, atol=1e-12).y[0, -1]
    assert abs(top - high) < 1e-9
    assert f(0, [low])[0] >= 0      # the lower end is a subsolution
    assert low <= zoo.get(name, dim=1).reference <= high


def test_slope_of_reaction_diffusion_and_its_range():
    problem = zoo.get("reaction-diffusion", dim=4, kappa=0.6).problem
    slopes = jax.vmap(jax.grad(lambda v: value_of(problem, v, jnp.zeros(4))))(jnp.linspace(-2.0, 5.0, 4001))
    assert -2 <= slopes.min() < -1.99
    assert 1.99 < slopes.max() <= 2
    low, high = problem.bounds.value_range
    values = jax.vmap(problem.terminal)(jnp.asarray(4 * RNG.normal(size=(500, 4))))
    assert low <= values.min() < low + 0.01
    assert high - 0.01 < values.max() <= high


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("hjb", {"strength": 7.0}), ("quadratic-gradient", {}), ("burgers", {}), ("black-scholes-barenblatt", {}),
     ("different-rates", {})],
)
def test_shape_and_gradient_constants(name, parameters):
    problem = zoo.get(name, dim=3, **parameters).problem
    bounds, process = problem.bounds, problem.process
    x = jnp.array([1.0, 0.5, 1.5])
    scale = jnp.diag(volatility(process, 0.0, x))       # z = scale * grad, these processes being diagonal
    low, high = bounds.value_range or (-3.0, 3.0)

    def f(u, z):
        return problem.source(jnp.asarray(0.1), x, u, z / scale)

    u, z = jnp.asarray(RNG.uniform(low, high, 400)), jnp.asarray(RNG.normal(size=(400, 3)))
    v, y = u[::-1], z[::-1]
    slopes = jax.vmap(jax.grad(f, (0, 1)))(u, z)
    jumps = np.linalg.norm(slopes[1] - slopes[1][::-1], axis=1)
    bend = jax.vmap(f)((u + v) / 2, (z + y) / 2) - (jax.vmap(f)(u, z) + jax.vmap(f)(v, y)) / 2
    assert bounds.shape != "convex" or bend.max() <= 1e-12
    assert bounds.shape != "concave" or bend.min() >= -1e-12
    if bounds.gradient_curvature is not None:       # two-sided: |f_z - f_z'| = K |z - z'| for these
        steps = np.linalg.norm(z - y, axis=1)
        np.testing.assert_allclose(jumps, bounds.gradient_curvature * steps, atol=1e-6, rtol=1e-6)
    if bounds.gradient_slope is not None:
        assert 0.9 * bounds.gradient_slope <= jumps.max() <= bounds.gradient_slope + 1e-6
    if bounds.slope is not None:
        np.testing.assert_allclose([slopes[0].min(), slopes[0].max()], bounds.slope, atol=1e-12)


def test_quadratic_gradient_is_finite_at_its_corner():
    with jax.enable_x64(False):
        problem = zoo.quadratic_gradient(dim=4).problem
        f = jax.jit(jax.value_and_grad(problem.source, argnums=(1, 2, 3)))
        g = problem.terminal
        expand = jax.jit(lambda x: (g(x), jax.grad(g)(x), jax.hessian(g)(x)))
        for x in (jnp.zeros(4), 1e-7 * jnp.ones(4), 1e-3 * jnp.ones(4)):
            assert all(np.all(np.isfinite(a)) for a in expand(x))
            for t in (0.0, 1.0, jnp.float32(1.0000001)):
                value, slopes = f(jnp.float32(t), x, jnp.float32(0.1), jnp.ones(4))
                assert np.isfinite(value)
                assert all(np.all(np.isfinite(a)) for a in slopes)


def test_default_intensity_is_continuous_and_flat_outside():
    problem = zoo.default_risk(dim=2).problem
    intensity = [-3 * (float(value_of(problem, u, jnp.zeros(2))) / u + 0.02) for u in (10.0, 50.0, 60.0, 70.0, 200.0)]
    np.testing.assert_allclose(intensity, [0.2, 0.2, 0.11, 0.02, 0.02], rtol=1e-12)


# --- the registry -------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_contract():
    assert zoo.names()[:10] == EQUATIONS == [
        "hjb", "allen-cahn", "semilinear-heat", "sine-gordon", "quadratic-gradient", "burgers", "reaction-diffusion",
        "black-scholes-barenblatt", "default-risk", "different-rates",
    ]
    assert zoo.names()[10:] == [
        "lqg", "hjb-control", "constrained-lq", "optimal-execution", "battery-fleet", "quadrotor", "swarm",
        "max-call", "geometric-basket", "strangle-basket",
    ]
    for name in zoo.names():
        assert zoo.cases[name] is getattr(zoo, name.replace("-", "_"))
        assert all(p.default is not p.empty for p in inspect.signature(zoo.cases[name]).parameters.values())
        assert "    Args:\n" in zoo.cases[name].__doc__


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("dim", [None, 1, 2, 7])
def test_cases_are_complete(name, dim):
    case = zoo.get(name) if dim is None else zoo.get(name, dim=dim)
    default = inspect.signature(zoo.cases[name]).parameters["dim"].default
    assert case.name == case.problem.name == name
    assert case.problem.dim == case.parameters["dim"] == len(case.at) == (dim or default)
    assert set(case.parameters) == set(inspect.signature(zoo.cases[name]).parameters)
    assert case.origin
    assert case.problem.zoo == {"name": name, "parameters": case.parameters}
    known = case.problem.reference
    if case.reference is None:
        assert known is None
        assert case.digits == 0
    else:
        assert (known.value, known.origin, known.digits) == (case.reference, case.origin, case.digits)
        assert case.digits >= 8
        assert known.error <= 10.0**-case.digits * abs(case.reference) * 10


def test_unknown_names_and_parameters_get_advice():
    with pytest.raises(ValueError, match=r"Did you mean 'allen-cahn'\?.*different-rates"):
        zoo.get("alen-cahn")
    with pytest.raises(ValueError, match=r"got 'xyzzy'\. The zoo has: hjb"):
        zoo.get("xyzzy")
    with pytest.raises(TypeError, match="name must be a string"):
        zoo.get(3)
    with pytest.raises(TypeError, match=r"hjb has no parameter 'sigma'; it has dim = 100, strength = 1\.0"):
        zoo.get("hjb", sigma=2.0)
    assert zoo.get("Allen_Cahn", dim=3).name == "allen-cahn"


@pytest.mark.parametrize("name", EQUATIONS)
def test_bad_dimensions_are_refused_by_name(name):
    for dim, error in ((0, ValueError), (-3, ValueError), (2.5, TypeError), ("4", TypeError), (True, TypeError)):
        with pytest.raises(error, match="dim must be"):
            zoo.get(name, dim=dim)


def test_other_bad_parameters_are_refused_by_name():
    for strength in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="strength must be"):
            zoo.hjb(dim=3, strength=strength)
    with pytest.raises(TypeError, match="strength must be"):
        zoo.hjb(dim=3, strength="strong")
    with pytest.raises(ValueError, match="kappa must be"):
        zoo.reaction_diffusion(dim=3, kappa=math.nan)


@pytest.mark.parametrize("strength", [1e-8, 1e-3, 1e3])
def test_hjb_keeps_its_digits_at_extreme_strengths(strength):
    case = zoo.hjb(dim=20, strength=strength)
    assert case.digits == 12
    free, most = zoo.hjb(dim=20, strength=1e-9).reference, -math.log(2)      # E g and min g
    assert most < case.reference < free
