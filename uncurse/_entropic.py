"""Theorem 8b as the loop for control problems uses it: a policy's pilot paths, and what they say of its bound."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, Key

from ._devices import single
from .analysis._shift import Shift
from .certificates import Bounds
from .certificates._controlled import Rollouts, noise_dim
from .certificates.drift_control import DriftControl, Shifted, averaged, drawn
from .methods.policy import visit
from .statistics import Moments, draw_bits

PerPoint = Float[np.ndarray, " n"]
PerPath = Float[np.ndarray, "n paths"]

ENTRIES = 2**22         # of the states of paths that a pilot may take
FEWEST = 2048           # paths of it over all points; up to eight times as many
SHOWN = 64              # paths along which the curvature of the value is looked at


@dataclass(frozen=True)
class Entropic:
    """How theorem 8b bounds a policy, and what pilot paths say of it. `proved`: nothing that it rests on was only
    tested."""

    shifted: Shifted
    certificate: DriftControl
    pilot: Moments
    proved: bool

    @staticmethod
    def of(rolls: Rollouts, shift: Shift, base: Shifted, key: Key[Array, ""], looking: Key[Array, ""]
           ) -> "tuple[PerPath, Entropic | None]":
        """Net costs of pilot paths, and how theorem 8b bounds the policy, if it does.

        base: what paths need to know before there is a policy. looking: random words of the paths that show curvature.
        """
        problem, points, policy = rolls.problem, rolls.starts, rolls.policy
        starts = single(points[np.resize(np.arange(len(points)), SHOWN)])
        bits = draw_bits(looking, (), (problem.steps, SHOWN, noise_dim(problem)))
        shifted = averaged(problem, policy, base, np.asarray(visit(problem, policy, starts, bits)[0]))
        wide = problem.steps * max(problem.dim, problem.control_dim)
        count = int(np.clip(ENTRIES // wide, FEWEST, 8 * FEWEST))       # a tail that is met late costs a whole run
        rounds = list(drawn(rolls, shifted, key, max(count // len(points), 64)))
        net, short, reach, cost = (np.concatenate([r[i] for r in rounds], axis=1) for i in range(4))
        certificate = DriftControl.tuned(shifted.rate, net, short, reach)
        if certificate is None:
            return net, None
        pilot = Moments.of(certificate.columns(net, short, reach, cost))
        return net, Entropic(shifted, certificate, pilot, shift.modulus.origin != "tested")

    def gap(self, cost: PerPoint) -> PerPoint:
        """How far the least cost may be below the policy's, without sampling errors; infinite where few pilot paths
        carry an average."""
        if self.pilot.heavy[:, :2].any():
            return np.full_like(cost, np.inf)
        return np.maximum(cost - self.certificate.bounds(self.pilot, 0.0, -np.inf, 0.0, True).low, 0.0)

    def columns(self, rolls: Rollouts, key: Key[Array, ""], count: int) -> Iterator[Float[np.ndarray, "n paths 3"]]:
        """What to average on at least `count` fresh paths a point, in rounds."""
        return (self.certificate.columns(*parts) for parts in drawn(rolls, self.shifted, key, count))

    def bounds(self, moments: Moments, z: float, floor: float, rounding: float) -> Bounds:
        """The interval: see `DriftControl.bounds`."""
        return self.certificate.bounds(moments, z, floor, rounding, self.proved)
