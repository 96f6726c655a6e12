"""Twisted steps: the density that a step reports is that of the noise it draws, and averages do not depend on it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import uncurse as uc
from uncurse.analysis import analyse
from uncurse.certificates._twist import Feedback, twisted
from uncurse.methods import Setting, Smoothing
from uncurse.statistics import Purpose, stream
from uncurse.surrogates import AbstractSurrogate


def setting_of(problem: uc.ParabolicPDE, at: np.ndarray) -> Setting:
    points = np.atleast_2d(at)
    return Setting(problem, analyse(problem, points), points, 10, 512, 0)


def densities(strength: float, h: float, z: np.ndarray, along: float, across: float, w: np.ndarray) -> float:
    """(log density of N(-strength C z, C) - log density of N(0, h I)) / strength, C = h (I + strength h G)^-1."""
    m, n = len(z), z / np.linalg.norm(z)
    curvature = across * np.eye(m) + (along - across) * np.outer(n, n)
    c = h * np.linalg.inv(np.eye(m) + strength * h * curvature)
    changed = multivariate_normal(-strength * c @ z, c).logpdf(w)
    return (changed - multivariate_normal(np.zeros(m), h * np.eye(m)).logpdf(w)) / strength


@pytest.mark.parametrize("strength", [2.0, -0.7])
def test_a_step_adds_the_ratio_of_two_densities_and_knows_its_derivatives(strength):
    rng = np.random.default_rng(0)
    m, h, along, across = 6, 0.2, 0.8, -0.3
    z, xi = rng.standard_normal(m), rng.standard_normal(m)
    n = z / np.linalg.norm(z)
    with jax.enable_x64(True):
        arrays = (jnp.asarray(a) for a in (z, z, n, along, across))
        step = twisted(Feedback(*arrays), strength, jnp.asarray(h), jnp.asarray(xi))
    w = np.asarray(step.w)
    assert float(step.total) == pytest.approx(densities(strength, h, z, along, across, w), rel=1e-5)
    eps = 1e-4
    slopes = [
        (densities(strength, h, z, along + da, across + db, w) - densities(strength, h, z, along - da, across - db, w))
        / (2 * eps) for da, db in ((eps, 0.0), (0.0, eps))
    ]
    np.testing.assert_allclose([-float(step.along), -float(step.across)], slopes, rtol=1e-3)


class Wrong(AbstractSurrogate):
    """Some function that solves nothing."""

    dim = None
    tilt: float
    bend: float

    def value(self, t, x):
        return self.tilt * jnp.sin(jnp.sum(x)) + self.bend * jnp.sum(x**2) * (1 + t)

    def recipe(self):
        return {}


@pytest.mark.parametrize("strength", [1.0, -0.5])
@pytest.mark.parametrize("process", [uc.Brownian(4, 0.8), uc.Brownian(4, np.diag([0.5, 1.0, 0.8, 0.6]) + 0.1)])
def test_any_surrogate_gives_the_same_average(strength, process):
    """u by the Hopf-Cole formula over 2e6 normals; twelve comparisons, each within 4 standard errors."""
    problem = uc.ParabolicPDE(
        process=process, horizon=1.0, terminal=lambda x: jnp.cos(x[0]) + 0.2 * jnp.sum(x**2),
        source=lambda t, x, u, grad: -strength / 2 * jnp.sum(
            (process.volatility.T @ grad if process.volatility.ndim == 2 else process.volatility * grad) ** 2
        ) + 0.3 * jnp.sum(grad) + 0.1,
    )
    at = np.array([0.3, -0.2, 0.0, 0.5])
    normals = np.random.default_rng(1).standard_normal((2_000_000, 4))
    sigma = np.asarray(process.volatility)
    ends = at + 0.3 + (normals @ sigma.T if sigma.ndim == 2 else sigma * normals)
    payoff = np.exp(-strength * (np.cos(ends[:, 0]) + 0.2 * np.sum(ends**2, axis=1) + 0.1))
    exact, error = -np.log(payoff.mean()) / strength, payoff.std() / payoff.mean() / abs(strength) / np.sqrt(2e6)
    setting = setting_of(problem, at)
    assert setting.sampler.scheme.strength == pytest.approx(strength, rel=1e-5)
    y0 = np.array([exact])
    for steps, surrogate in ((1, Wrong(0.0, 0.0)), (3, Wrong(0.3, 0.1)), (10, Wrong(0.1, -0.05))):
        sampler = dataclasses.replace(setting, steps=steps).sampler
        chunk = sampler.pilot(surrogate, y0, stream(5, Purpose.pilot, steps), 60_000)
        weight = np.exp(-strength * (chunk.fine.total[0].astype(np.float64) - exact))
        scatter = np.hypot(weight.std() / np.sqrt(weight.size), error)
        assert abs(weight.mean() - 1) < 4 * scatter
        assert scatter < 0.02       # so that the comparison says something


def test_twisting_takes_most_of_what_frozen_steps_leave():
    """Ten steps, the baseline as surrogate: at least a factor of 5 in the variance."""
    case = uc.zoo.hjb(dim=50, strength=5.0)
    setting = setting_of(case.problem, case.at)
    y0 = np.array([case.reference])
    surrogate = Smoothing().init(setting, None, y0).surrogate
    twist = setting.sampler
    frozen = dataclasses.replace(twist, scheme=dataclasses.replace(twist.scheme, strength=0.0, grading=1.0))
    chunks = (s.pilot(surrogate, y0, stream(0, Purpose.pilot, 1), 4096) for s in (twist, frozen))
    small, large = (c.fine.total.astype(np.float64).var() for c in chunks)
    assert small < 0.2 * large


def test_histories_are_bounded_by_memory(monkeypatch):
    """A sample with its history holds no more than it may, but a chunk at least."""
    case = uc.zoo.hjb(dim=50)
    sampler = setting_of(case.problem, case.at).sampler
    surrogate = Wrong(0.0, 0.0)
    y0, key = np.array([case.reference]), stream(0, Purpose.training, 0)
    assert len(sampler.visited(surrogate, y0, key, 1500).point) == 1536
    monkeypatch.setattr("uncurse.certificates._sampling.HISTORY", 4 * 10 * 50 * 600)
    assert len(sampler.visited(surrogate, y0, key, 1500).point) == 1024
    monkeypatch.setattr("uncurse.certificates._sampling.HISTORY", 1)
    assert len(sampler.visited(surrogate, y0, key, 1500).point) == 512
