"""One process of a run on several devices: solves a few problems and prints the answers as JSON.

Usage: python tests/_scale_out.py [HOST:PORT PROCESSES INDEX]
"""

import json
import os
import signal
import sys
import threading

import jax

if len(sys.argv) > 1:
    jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

import jax.numpy as jnp
import numpy as np

import uncurse as uc
from uncurse.analysis import analyse
from uncurse.methods import Setting, Smoothing
from uncurse.statistics import Purpose, stream


def answer(problem, at, **options):
    # A method asked for by name, and no limit of time: then nothing that the clock says changes the answer.
    options = {"rtol": 1e-2, "method": "smoothing", "seed": 3, "progress": False, "throw": False} | options
    solution = uc.solve(problem, at, **options)
    found = {name: np.ravel(getattr(solution, name)).tolist() for name in ("value", "low", "high")}
    return found | {"paths": solution.stats["paths"], "result": solution.result.name}


def blocks_of_points(problem):
    """More points than run at once, a last block that is not full, an odd number of chunks; and what training sees."""
    points = np.linspace(0.0, 1.0, 20)[:, None] * np.ones(4)
    setting = Setting(problem, analyse(problem, points), points, steps=2, rows=16, seed=5)
    y0, key = np.ones(20), stream(5, Purpose.pilot)
    surrogate = Smoothing().init(setting, None, y0).surrogate
    chunk, visited = setting.sampler.pilot(surrogate, y0, key, 5), setting.sampler.visited(surrogate, y0, key)
    return {"certified": chunk.fine.total.tolist(), "trained on": np.asarray(visited.columns.total).tolist()}


def main():
    hjb = uc.zoo.hjb(dim=4)
    process = uc.Diffusion(2, lambda t, x: -x, lambda t, x: (1 + 0.1 * jnp.tanh(x[0])) * jnp.eye(2))
    stepped = uc.ParabolicPDE(process=process, source=lambda t, x, u, grad: -0.1 * jnp.sum(grad**2),
                              terminal=lambda x: jnp.sqrt(1 + jnp.sum(x**2)), horizon=0.5,
                              bounds=uc.SourceBounds(gradient_curvature=0.25))      # 0.2 over the least sigma^2
    found = {
        "exact": answer(hjb.problem, hjb.at, rtol=2e-3),
        "stepped, three points": answer(stepped, np.linspace(0.0, 1.0, 3)[:, None] * np.ones(2)),
        "blocks": blocks_of_points(hjb.problem),
    }
    if jax.process_count() > 1:
        # Cut short by the clock, then by Ctrl-C in the last process alone: all must stop at the same chunk.
        found["limited"] = answer(hjb.problem, hjb.at, rtol=1e-6, time_limit=2.0)
        if jax.process_index() == jax.process_count() - 1:
            threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        found["interrupted"] = answer(hjb.problem, hjb.at, rtol=1e-6)
    print(json.dumps({"devices": jax.device_count(), "processes": jax.process_count()} | found), flush=True)


if __name__ == "__main__":
    main()
