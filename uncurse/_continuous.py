"""The continuous limit of a control problem: its Hamilton-Jacobi-Bellman equation, solved as any other equation.

    u_t + 1/2 tr(sigma sigma^T D^2 u) + min over a of [running_cost(t, x, a) + drift(t, x, a) . grad u] = 0,  u(T, .) =
    g

(Fleming and Soner, Controlled Markov Processes and Viscosity Solutions, IV.3). The drift without control goes into the
process, the rest is the source: concave in the gradient, a minimum of affine functions.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._devices import single
from ._loop import Run
from ._request import Request
from ._solution import Solution
from .analysis._control import Costs
from .analysis._elements import elements_in
from .methods import plan
from .problems import ControlProblem, ParabolicPDE, SourceBounds
from .processes import AbstractProcess, Brownian, Diffusion, OrnsteinUhlenbeck
from .report._record import record_of
from .surrogates._minimiser import Minimiser, minimiser, slope_at_rest


def solve_limit(problem: ControlProblem, request: Request) -> Solution:
    """The least cost in the limit h -> 0, and the policy that its gradient suggests."""
    limit = Limit.of(problem, request.points)
    solution = Run(limit.equation(), request, plan(request.method)).go()
    policy = Minimiser(solution.field, limit.inverse, problem)
    return replace(
        solution, problem=problem, policy=policy,
        assumptions=(*solution.assumptions, "the limit h -> 0 is asked for: the Hamilton-Jacobi-Bellman equation"),
        record=record_of(problem, request.seed, solution.field, policy),
    )


@dataclass(frozen=True)
class Limit:
    """A control problem whose minimum over the controls has a closed form."""

    problem: ControlProblem
    inverse: Float[Array, "..."]        # of d2 running_cost / da2: (m,) or (m, m)
    point: Float[np.ndarray, " d"]

    @staticmethod
    def of(problem: ControlProblem, points: Float[np.ndarray, "n d"]) -> "Limit":
        """Raises:
            ValueError: drift not affine or running cost not quadratic in the control, or its curvature of a kind for
            which
                no closed form is known.
        """
        d, m = problem.dim, problem.control_dim
        chosen = [np.asarray(False), np.zeros(d, bool), np.ones(m, bool)]
        if not elements_in(problem.drift, chosen).affine.all():
            raise ValueError("the continuous limit needs a drift that is affine in the control; leave out `continuous`")
        if problem.controls_noise and not elements_in(problem.sigma, chosen).independent.all():
            raise ValueError("the continuous limit needs a volatility without control; leave out `continuous`")
        costs = Costs(problem, np.zeros(d, bool), points)
        if not (costs.running_smooth and costs.control_curvature_fixed) or len(costs.times()) > 1:
            raise ValueError(
                "the continuous limit needs a running_cost that is quadratic in the control, with constant curvature; "
                "leave out `continuous` to solve the problem in discrete time"
            )
        curvature = costs.hessians(np.zeros(1))[0]
        spectrum = np.linalg.eigvalsh(curvature)
        if spectrum[0] <= 1e-6 * spectrum[-1]:
            raise ValueError(
                "the continuous limit needs a running_cost that grows quadratically with every control: the least "
                f"eigenvalue of its curvature is {spectrum[0]:.3g}"
            )
        diagonal = bool(np.abs(curvature - np.diag(np.diag(curvature))).max() <= 1e-6 * spectrum[-1])
        if not diagonal and problem.control_bounds is not None:
            raise ValueError(
                "with control_bounds the continuous limit needs a running_cost whose curvature in the controls is "
                "diagonal"
            )
        inverse = 1 / np.diag(curvature) if diagonal else np.linalg.inv(curvature)
        return Limit(problem, single(inverse), points[0])

    def equation(self) -> ParabolicPDE:
        """The Hamilton-Jacobi-Bellman equation as a `ParabolicPDE`."""
        problem, inverse = self.problem, self.inverse
        rest = jnp.zeros(problem.control_dim)

        def source(t: Any, x: Any, u: Any, grad: Any) -> Any:
            level = problem.running_cost(t, x, rest)
            slope = slope_at_rest(problem, t, x, grad)
            if problem.control_bounds is None:
                return level - 0.5 * jnp.sum(slope * (inverse @ slope if inverse.ndim == 2 else inverse * slope))
            a = minimiser(problem, inverse, t, x, grad)
            return level + jnp.sum(slope * a + 0.5 * a**2 / inverse)

        return ParabolicPDE(
            process=self._process(), source=source, terminal=problem.terminal_cost, horizon=problem.horizon,
            bounds=SourceBounds(shape="concave", slope=(0.0, 0.0), curvature=0.0, gradient_curvature=self._lipschitz()),
            reference=problem.reference, name=problem.name, zoo=problem.zoo,
        )

    def _constant_sigma(self) -> Float[np.ndarray, "..."] | None:
        problem = self.problem
        if not callable(problem.volatility):
            return np.asarray(problem.volatility)
        everything = [np.asarray(True), np.ones(problem.dim, bool), np.ones(problem.control_dim, bool)]
        if not elements_in(problem.sigma, everything).independent.all():
            return None
        return np.asarray(problem.sigma(jnp.float32(0), self._x, jnp.zeros(problem.control_dim)), dtype=np.float64)

    @property
    def _x(self) -> Array:
        return single(self.point)

    def _at_rest(self, t: Array, x: Array) -> Array:
        return self.problem.drift(t, x, jnp.zeros(self.problem.control_dim))

    def _process(self) -> AbstractProcess:
        """What moves where nothing is done: exact where that is a Brownian motion or reverts to a mean."""
        problem, d, sigma = self.problem, self.problem.dim, self._constant_sigma()
        drift = elements_in(self._at_rest, [np.asarray(False), np.ones(d, bool)])
        steady = elements_in(self._at_rest, [np.asarray(True), np.zeros(d, bool)]).independent.all()
        if sigma is not None and steady and drift.affine.all():
            offset = np.asarray(self._at_rest(jnp.float32(0), jnp.zeros(d)), dtype=np.float64)
            matrix = np.asarray(jax.jacfwd(self._at_rest, argnums=1)(jnp.float32(0), jnp.zeros(d)), dtype=np.float64)
            rate = -np.diag(matrix)
            if not matrix.any() and not offset.any():
                return Brownian(d, sigma)
            if sigma.ndim < 2 and not (matrix + np.diag(rate)).any() and (rate > 0).all():
                return OrnsteinUhlenbeck(d, rate, sigma, offset / rate)

        def volatility(t: Array, x: Array) -> Array:
            sigma = problem.sigma(t, x, jnp.zeros(problem.control_dim))
            return sigma if sigma.ndim == 2 else jnp.diag(jnp.broadcast_to(sigma, (d,)))

        return Diffusion(d, self._at_rest, volatility)

    def _lipschitz(self) -> float | None:
        """Of df/dz = sigma^-1 B a in z = sigma^T grad: at most |sigma^-1 B R^-1 B^T sigma^-T|."""
        problem, sigma = self.problem, self._constant_sigma()
        if problem.control_bounds is None or sigma is None:
            return None         # without bounds f is quadratic, and its trace says so
        d, m = problem.dim, problem.control_dim

        def pushed(t: Array, x: Array, v: Array) -> Array:
            return jax.jvp(lambda a: problem.drift(t, x, a), (jnp.zeros(m),), (v,))[1]

        if not elements_in(pushed, [np.asarray(True), np.ones(d, bool), np.zeros(m, bool)]).independent.all():
            return None
        B = np.asarray(jax.vmap(lambda v: pushed(jnp.float32(0), self._x, v))(jnp.eye(m)), dtype=np.float64).T
        full = sigma if sigma.ndim == 2 else np.diag(np.broadcast_to(sigma, (d,)))
        if full.shape[0] != full.shape[1] or np.linalg.cond(full) > 1e6:
            return None
        scaled = np.linalg.solve(full, B) * np.sqrt(np.asarray(self.inverse, dtype=np.float64))
        return float(np.linalg.norm(scaled, 2) ** 2 * (1 + 1e-5))
