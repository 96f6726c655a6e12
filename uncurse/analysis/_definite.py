"""Whether a symmetric matrix is positive semidefinite: known, open within the rounding of its entries, or false."""

import numpy as np
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components

SINGLE = 4 * float(np.finfo(np.float32).eps)    # of an entry, over the root of its two diagonal entries: float32 ...
EXACT = 4 * float(np.finfo(np.float64).eps)     # ... and an entry that is known: only the spectrum is rounded


def semidefinite(
    h: Float[np.ndarray, "n w w"], taken: Float[np.ndarray, " w"] | float = 0.0, rounding: float = SINGLE
) -> str | None:
    """How it is known that h - diag(taken) >= 0, for each of several h: "proved"; "tested" where their rounding leaves
    it open; None where one is indefinite.

    Units don't matter: with D the diagonal of h, the spectrum is that of D^-1/2 (h - diag(taken)) D^-1/2, and is
    compared with what errors of `rounding` in each of its w entries a row can do, w times `rounding` (Gershgorin).
    Blocks that no entry connects are judged apart. A diagonal entry below 0 is never semidefinite, one that is 0 needs
    a row of zeros, and an entry connected to no other is judged by its sign alone.
    """
    known = "proved"
    for one in h:
        found = _one(one, np.broadcast_to(np.asarray(taken, dtype=np.float64), (one.shape[0],)), rounding)
        if found is None:
            return None
        known = "tested" if found == "tested" else known
    return known


def _one(h: Float[np.ndarray, "w w"], taken: Float[np.ndarray, " w"], rounding: float) -> str | None:
    diagonal = np.diag(h)
    left = h - np.diag(taken)
    if not np.isfinite(h).all() or (np.diag(left) < 0).any() or left[np.diag(left) == 0].any():
        return None
    scaled = left / np.sqrt(np.outer(*2 * [np.where(diagonal > 0, diagonal, 1.0)]))
    count, label = connected_components(h != 0, directed=False)
    sizes, lowest = np.bincount(label, minlength=count), np.inf
    for block in np.flatnonzero(sizes > 1):
        index = np.flatnonzero(label == block)
        least = np.linalg.eigvalsh(scaled[np.ix_(index, index)])[0] / (rounding * len(index))
        lowest = min(lowest, float(least))
    return None if lowest < -1 else "tested" if lowest < (1 if rounding > EXACT else -1) else "proved"
