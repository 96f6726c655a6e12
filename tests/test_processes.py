"""Processes: laws against closed forms, the algebra of their charts, their generators; and the core kernel in NumPy.

Statistical comparisons are two-sided at 1e-6 each (see `_problems.Z`) with fixed seeds: about 300 of them, so this file
would fail by chance for 3 seeds in 10 000.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _problems import Formula, Z

from uncurse.certificates import Model, Scheme, simulate
from uncurse.certificates._paths import Noise
from uncurse.problems import ParabolicPDE
from uncurse.processes import Brownian, Diffusion, GeometricBrownian, OrnsteinUhlenbeck

PATHS = 100_000
TIMES = {"one step": [0.7], "a path": [0.1, 0.35, 0.05, 0.2]}      # both end at 0.7
X = np.array([1.0, 0.4, 2.5])
TILT = np.array([0.3, -0.5, 0.0])
MATRIX = np.array([[0.5, 0.2, 0.0, 0.1], [0.0, 0.7, -0.3, 0.0], [0.2, 0.0, 0.4, 0.6]])
CORRELATION = np.array([[1.0, 0.6, -0.2], [0.6, 1.0, 0.3], [-0.2, 0.3, 1.0]])
VECTOR = np.array([0.2, 0.5, 0.3])
RATE, LEVEL = np.array([2.0, 0.0, 0.5]), np.array([0.5, 1.0, -1.0])

PROCESSES = {
    "brownian, number": Brownian(3, 0.6),
    "brownian, vector": Brownian(3, VECTOR),
    "brownian, matrix": Brownian(3, MATRIX),
    "geometric": GeometricBrownian(3, 0.1, VECTOR),
    "geometric, correlated": GeometricBrownian(3, [0.1, -0.2, 0.0], VECTOR, CORRELATION),
    "ornstein-uhlenbeck": OrnsteinUhlenbeck(3, RATE, VECTOR, LEVEL),
    "ornstein-uhlenbeck, number": OrnsteinUhlenbeck(3, 1.5, 0.4, 0.3),
    "diffusion": Diffusion(
        3, lambda t, x: jnp.sin(x) - t, lambda t, x: jnp.asarray(MATRIX, x.dtype) * (1 + x[0] ** 2 / 4)
    ),
}
EXACT = [name for name, process in PROCESSES.items() if process.exact]


def simulated(process, times, tilt, seed):
    """(X_T, W_T) of many paths, in float64."""
    step = jax.jit(jax.vmap(process.step, in_axes=(None, 0, None, 0, None)))
    x, w, t = np.tile(X.astype(np.float32), (PATHS, 1)), 0.0, 0.0
    for key, dt in zip(jax.random.split(jax.random.key(seed), len(times)), times, strict=True):
        xi = jax.random.normal(key, (PATHS, process.normals))
        x, dw = step(np.float32(t), x, np.float32(dt), xi, tilt.astype(np.float32))
        w, t = w + np.asarray(dw, dtype=np.float64), t + dt
    return np.asarray(x, dtype=np.float64), w


def law(process, time, tilt):
    """Mean and covariance of (Y_T, W_T), both Gaussian: Y = X, or log X for a geometric Brownian motion."""
    full = jnp.broadcast_to
    if isinstance(process, GeometricBrownian):
        factor = np.eye(3) if process.factor is None else np.linalg.cholesky(CORRELATION)
        sigma = np.diag(full(process.volatility, 3)) @ factor
        mean, spread = np.log(X) + (process.growth + tilt - process.volatility**2 / 2) * time, sigma @ sigma.T * time
        return mean, spread, sigma * time
    if isinstance(process, Brownian):
        sigma = np.asarray(process.volatility if process.volatility.ndim == 2 else np.diag(full(process.volatility, 3)))
        return X + tilt * time, sigma @ sigma.T * time, sigma * time
    parameters = process.rate, process.volatility, process.mean
    rate, sigma, level = (np.asarray(full(a, 3), dtype=np.float64) for a in parameters)
    some = np.maximum(rate, 1e-9)       # continued to 0
    once, twice = -np.expm1(-some * time) / some, -np.expm1(-2 * some * time) / (2 * some)
    mean = level + (X - level) * np.exp(-rate * time) + tilt * once
    return mean, np.diag(sigma**2 * twice), np.diag(sigma * once)


def agree(sample, exact):
    """The mean of `sample` (paths, ...) against `exact`, at the file's false-alarm rate."""
    error = sample.std(axis=0) / np.sqrt(len(sample))
    assert np.all(np.abs(sample.mean(axis=0) - exact) <= Z * error + 2e-7 * (1 + np.abs(exact)))


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", EXACT)
def test_joint_law_of_the_process_and_its_noise(name, times):
    process = PROCESSES[name]
    tilt = TILT if times == "one step" else 0 * TILT
    x, w = simulated(process, TIMES[times], tilt, seed=len(name))
    y = np.log(x) if isinstance(process, GeometricBrownian) else x
    mean, spread, cross = law(process, sum(TIMES[times]), tilt)
    agree(y, mean)
    agree(w, 0.0)
    centred = y - mean
    agree(centred[:, :, None] * centred[:, None], spread)
    agree(centred[:, :, None] * w[:, None], cross)
    agree(w[:, :, None] * w[:, None], 0.7 * np.eye(process.noise_dim))
    agree(centred**3, 0.0)
    agree(centred**4, 3 * np.diag(spread) ** 2)


@pytest.mark.parametrize("name", ["geometric", "geometric, correlated"])
def test_moments_of_a_geometric_brownian_motion(name):
    process = PROCESSES[name]
    x, _ = simulated(process, TIMES["a path"], TILT, seed=7)
    growth = np.asarray(process.growth + TILT)
    rho = CORRELATION if "correlated" in name else np.eye(3)
    agree(x, X * np.exp(growth * 0.7))
    together = growth[:, None] + growth + np.outer(VECTOR, VECTOR) * rho
    agree(x[:, :, None] * x[:, None], np.outer(X, X) * np.exp(together * 0.7))


def test_a_tilted_path_of_an_ornstein_uhlenbeck_process():
    process = PROCESSES["ornstein-uhlenbeck"]
    x, _ = simulated(process, TIMES["a path"], TILT, seed=8)
    agree(x, law(process, 0.7, TILT)[0])


@pytest.mark.parametrize("name", PROCESSES)
def test_a_step_of_no_length_goes_nowhere(name):
    """A random time may fall on the start of its step: once in 2^23 draws, which a large sample sees."""
    process, x = PROCESSES[name], jnp.asarray(X, dtype=np.float32)
    for dt in (0.0, 1e-30, 1e-12):
        end, dw = process.step(0.2, x, jnp.float32(dt), jnp.ones(process.normals), jnp.asarray(TILT, dtype=np.float32))
        np.testing.assert_allclose(end, x, rtol=1e-5)
        np.testing.assert_allclose(dw, 0.0, atol=2e-6)


# --- the algebra of the chart -------------------------------------------------------------------------------------


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def some(process, seed=0):
    rng = np.random.default_rng(seed)
    return (jnp.asarray(a) for a in (rng.normal(size=3), rng.normal(size=process.noise_dim), rng.normal(size=3)))


@pytest.mark.parametrize("name", PROCESSES)
def test_noise_and_spread_are_adjoint_and_whiten_inverts(name, float64):
    process, t, x = PROCESSES[name], 0.2, jnp.asarray(X)
    q, z, y = some(process)
    matrix = np.stack([process.spread(t, x, e) for e in jnp.eye(process.noise_dim)], axis=1)
    np.testing.assert_allclose(process.spread(t, x, z), matrix @ z, rtol=1e-6)
    np.testing.assert_allclose(process.noise(t, x, q), matrix.T @ q, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(process.intensity(t, x), np.trace(matrix @ matrix.T), rtol=1e-6)
    np.testing.assert_allclose(process.whiten(t, x, y), np.linalg.pinv(matrix) @ y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(process.spread(t, x, process.whiten(t, x, y)), y, rtol=1e-5)


def test_whiten_where_a_coordinate_has_no_noise():
    sigma = [0.5, 0.0]
    for process in (Brownian(2, sigma), OrnsteinUhlenbeck(2, 1.0, sigma), GeometricBrownian(2, 0.0, sigma)):
        beta = process.whiten(0.0, jnp.ones(2), jnp.asarray([1.0, 0.0]))
        np.testing.assert_allclose(beta, [2.0, 0.0])


@pytest.mark.parametrize("name", PROCESSES)
def test_pull_gradient_and_tilt_follow_the_chart(name, float64):
    process, x = PROCESSES[name], jnp.asarray(X)
    q, _, b = some(process, seed=1)
    zero = jnp.zeros(3)
    jacobian = np.asarray(jax.jacobian(lambda y: process.move(x, y))(zero))
    np.testing.assert_allclose(process.move(x, zero), x)
    np.testing.assert_allclose(process.pull(x, b), jacobian.T @ b, rtol=1e-12)
    np.testing.assert_allclose(process.gradient(x, process.pull(x, b)), b, rtol=1e-12)
    np.testing.assert_allclose(process.pull(x, process.gradient(x, q)), q, rtol=1e-12)
    np.testing.assert_allclose(jacobian @ process.tilt(x, b), b, rtol=1e-12)
    assert process.flat == bool(np.allclose(jacobian, np.eye(3)))


@pytest.mark.parametrize("name", PROCESSES)
def test_a_frozen_drift_is_tilt(name, float64):
    """Over a short step, X under tilt(x, b) exceeds X without it by b dt + O(dt^2)."""
    process, x, b = PROCESSES[name], jnp.asarray(X), jnp.asarray([0.4, -1.0, 0.7])
    xi = jnp.zeros(process.normals)
    with_, without = (process.step(0.2, x, 1e-6, xi, v)[0] for v in (process.tilt(x, b), 0 * b))
    np.testing.assert_allclose((with_ - without) / 1e-6, b, rtol=1e-4)


TWO = {
    "brownian": Brownian(2, np.array([[0.5, 0.2], [0.1, 0.7]])),
    "geometric": GeometricBrownian(2, [0.3, -0.2], [0.3, 0.5], [[1.0, 0.5], [0.5, 1.0]]),
    "ornstein-uhlenbeck": OrnsteinUhlenbeck(2, [1.0, 0.4], [0.6, 0.5], 0.2),
    "diffusion": Diffusion(
        2, lambda t, x: jnp.stack([jnp.sin(x[1]), x[0] - x[1]]),
        lambda t, x: jnp.array([[0.5 + 0.2 * x[1], 0.1 * x[0]], [0.0, 0.4 + 0.1 * x[0] ** 2]]),
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_generator(name, float64):
    """(E phi(X_h) - phi(x)) / h - L phi(x) falls like h, two-sided within 0.25; E is a Gauss-Hermite sum."""
    process, t, x = TWO[name], 0.1, jnp.asarray([0.8, 0.5])
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    grid = jnp.asarray(np.stack(np.meshgrid(*[nodes] * process.normals), axis=-1).reshape(-1, process.normals))
    weight = np.prod(np.stack(np.meshgrid(*[weights] * process.normals), axis=-1).reshape(-1, process.normals), axis=1)

    def phi(x):
        return jnp.sin(x[0]) * x[1] + jnp.cos(x[0] - 0.5 * x[1]) + 0.3 * x[0] ** 2

    def mean(h):
        end = jax.vmap(lambda xi: phi(process.step(t, x, h, xi, jnp.zeros(2))[0]))(grid)
        return float(weight @ np.asarray(end) / weight.sum())

    sigma = jax.jacobian(lambda z: process.move(x, process.spread(t, x, z)))(jnp.zeros(process.noise_dim))
    generator = process.drift(t, x) @ jax.grad(phi)(x) + jnp.trace(sigma @ sigma.T @ jax.hessian(phi)(x)) / 2
    h = 0.1 / 2.0 ** np.arange(5)
    errors = np.abs([(mean(s) - phi(x)) / s - generator for s in h])
    rates = np.log2(errors[:-1] / errors[1:])
    assert np.all(np.abs(rates - 1) < 0.25), rates


def test_a_diffusion_with_constant_coefficients_is_a_brownian_motion():
    sigma = jnp.asarray(MATRIX, dtype=np.float32)
    exact, stepped = Brownian(3, MATRIX), Diffusion(3, lambda t, x: 0 * x, lambda t, x: sigma)
    assert stepped.noise_dim == exact.noise_dim == stepped.normals == 4
    assert exact.exact and not stepped.exact
    for seed in range(5):
        _, xi, tilt = some(exact, seed)
        arguments = (0.3, jnp.asarray(X, dtype=np.float32), 0.1, xi, tilt)
        for a, b in zip(exact.step(*arguments), stepped.step(*arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


# --- jit, no jit, NumPy -------------------------------------------------------------------------------------------


STEPS, KERNEL_PATHS, T = 3, 16, 0.6
CURVE = np.array([0.8, -0.3], dtype=np.float32)
SLOPE = np.array([0.5, 0.2], dtype=np.float32)
CUBE = np.array([-0.6, 0.4], dtype=np.float32)
PROBLEM = ParabolicPDE(
    process=Brownian(2, [0.7, 0.4]), source=lambda t, x, u, grad: u - u**3,
    terminal=lambda x: jnp.cos(x[0]) + 0.2 * x[1], horizon=T,
)
PROPOSED = Formula(lambda t, x: (1 + t) * (SLOPE @ x + CURVE @ x**2 / 2 + CUBE @ x**3 / 6))


def noise():
    rng = np.random.default_rng(3)
    shape = (STEPS, KERNEL_PATHS)
    first, second, area = (rng.normal(size=(*shape, 2)) for _ in range(3))
    return Noise(*(a.astype(np.float32) for a in (first, second, rng.uniform(size=shape), area, np.zeros(shape))))


def run(jit):
    starts = (0.6 * np.random.default_rng(4).normal(size=(KERNEL_PATHS, 2))).astype(np.float32)
    scheme = Scheme(STEPS, random_time=True, second_order=True, track=False)

    def kernel(starts, y0, noise):
        return simulate(Model.of(PROBLEM), PROPOSED, scheme, starts, y0, noise, lambda step: step)[0]

    return starts, (jax.jit(kernel) if jit else kernel)(starts, 0.3 * starts[:, 0], Noise(*map(jnp.asarray, noise())))


def in_numpy(x, y):
    """S and the mismatch of one path set, from the docstring of `_paths`, in float64."""
    sigma, f, h = np.array([0.7, 0.4], dtype=np.float32).astype(float), lambda u: u - u**3, T / STEPS
    total, log_gamma = np.zeros(len(x)), np.zeros(len(x))
    for k, (xi1, xi2, cut, area, _) in enumerate(zip(*(a.astype(np.float64) for a in noise()), strict=True)):
        q = (1 + k * h) * (SLOPE + CURVE * x + CUBE * x**2 / 2)
        n = q / np.linalg.norm(q, axis=1, keepdims=True)
        side = n[:, ::-1] * [-1, 1]                         # across n: in the plane there is one such direction
        second, third = (1 + k * h) * (CURVE + CUBE * x), (1 + k * h) * CUBE        # diagonals
        other = (side**2 * second).sum(1)
        along = (n**2 * second).sum(1) - other
        hessian = sum(((e**2 * second).sum(1)[:, None, None] * np.einsum("pi,pj->pij", e, e)) for e in (n, side))
        bent = (n**3 @ third)[:, None, None, None] * np.einsum("pi,pj,pk->pijk", n, n, n)
        across = np.einsum("pi,pj,pk->pijk", n, side, side)
        across = across + across.transpose(0, 2, 1, 3) + across.transpose(0, 3, 2, 1)
        bulge = (n**2 @ sigma**2) * h * (np.abs(along) + np.abs(other)) ** 2 + (q**2).sum(1)
        bulge = other * along * np.linalg.norm(q, axis=1) / bulge
        bent = bent + bulge[:, None, None, None] * across
        s, r = cut * h, (1 - cut) * h
        f0, c, gamma = f(y), 1 - 3 * y**2, np.exp(log_gamma)

        def martingale(q, hessian, bent, d, dt, c=c):
            """Hermite polynomials of the noise, with q, H and T that fade like exp(-c s), and as they are."""
            twice = np.einsum("pijk,pj,pk->pi", bent, d, d)
            lean = np.einsum("pijk,jk->pi", bent, np.diag(sigma**2))
            change = np.einsum("pij,pj->pi", hessian, d)
            trace = np.einsum("pij,ij->p", hessian, np.diag(sigma**2))
            one, two = (q * d).sum(1), ((change * d).sum(1) - dt * trace) / 2
            three = (((twice / 3 - dt[:, None] * lean) * d).sum(1)) / 2
            plain = (1 - c * dt / 2) * one + (1 - c * dt * 2 / 3) * two + (1 - c * dt * 3 / 4) * three
            fade = (c * dt)[:, None]
            after = (1 - fade) * q + (1 - fade / 2) * change + (1 - fade * 2 / 3) * (twice - dt[:, None] * lean) / 2
            return plain, one + two + three, after

        d1, d2 = sigma * np.sqrt(s)[:, None] * xi1, sigma * np.sqrt(r)[:, None] * xi2
        m1, discounted1, q1 = martingale(q, hessian, bent, d1, s)
        later = np.exp(-c * s)[:, None, None]
        moved = hessian + np.einsum("pijk,pk->pij", bent, d1)
        m2, discounted2, _ = martingale(q1, later * moved, later[..., None] * bent, d2, r)
        bridge = (np.linalg.norm(sigma * q, axis=1) / np.sqrt(12))[:, None] * area
        area1, area2 = s * m1 / 2 + s**1.5 * bridge[:, 0], r * (m1 + m2 / 2) + r**1.5 * bridge[:, 1]
        y1 = y + f0 * np.expm1(-c * s) / c + m1 - c * area1
        rest = f(y1) - f0 - c * (y1 - y)
        total += gamma * (np.expm1(c * h) / c * (f0 - c * y) - discounted1)
        total += gamma * np.exp(c * s) * (h * rest - discounted2)
        x, y = x + d1 + d2, y + f0 * np.expm1(-c * h) / c + m1 + m2 - c * (area1 + area2) - rest * h
        log_gamma += c * h
    g = np.cos(x[:, 0]) + 0.2 * x[:, 1]
    return total + np.exp(log_gamma) * g, g - y


def test_core_kernel_with_jit_without_and_in_numpy():
    starts, compiled = run(jit=True)
    with jax.disable_jit():
        _, plain = run(jit=False)
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    total, mismatch = in_numpy(starts.astype(np.float64), 0.3 * starts[:, 0].astype(np.float64))
    scale = np.abs(total).max()
    np.testing.assert_allclose(compiled.total, total, atol=1e-5 * scale)
    np.testing.assert_allclose(compiled.mismatch, mismatch, atol=1e-5 * scale)
    np.testing.assert_allclose(compiled.mismatch2, mismatch**2, atol=1e-4 * scale**2)
