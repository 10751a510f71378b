"""The projection layer's ideal functionality in float64: what every scheme computes, and what it reveals.

    forward     z  = a W^T  (+ e)        to the host
    backward    da = dz W   (+ e')       to the collaborator, if its bottom model is trainable
    update      W -= lr dz^T a           to nobody

a: [B, d], W: [o, d], z and dz: [B, o]. Scheme "plain" runs this code itself, at the host.

**Leaks** what the z of a whole run say together, to a semi-honest host (tests/attacks/test_whole_run.py):

* At most the features of all rounds, as one rotation shows them: W and W R are equally likely at the start, and with
  a R in place of a they give the same z in every batch. That is for a host that knows nothing else of the features, and
  of trained ones, whose a depends on W, not how they learn, unless they do so alike in all directions.
* For o >= d just that, whether or not the bottom model is trained: with A and B as in `initial_factors`, the host knows
  A, and W_t B^T = Q_t follows from z, dz and lr; with it a_t B^T does, up to the noise. So it has norms and inner
  products of all rows.
* For o < d one z leaves d - o directions unknown. While W moves, later rounds show other directions of the same rows
  (tests/attacks/test_frozen_rounds.py). A frozen bottom model's layer does not move: protocols/layer/frozen.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.fixed_point import FACTOR_BITS
from protocols.core.randomness import Randomness

Matrix = NDArray[np.float64]


def orthogonal_factor(randomness: Randomness, rows: int, columns: int) -> Matrix:
    """A uniformly random [rows, columns] matrix with orthonormal columns (rows >= columns) or rows.

    QR of a Gaussian matrix with the signs of R's diagonal moved into Q, which makes Q uniform.

    **Reference** Mezzadri, How to generate random matrices from the classical compact groups, 2007.
    """
    tall, thin = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(randomness.gaussian((tall, thin)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if rows >= columns else q.T)


def initial_factors(host: Randomness, collaborator: Randomness, width_out: int, width_in: int) -> tuple[Matrix, Matrix]:
    """(A, B) with W = A B, A [o, m] from the host's randomness, B [m, d] from the collaborator's, m = min(o, d).

    Every singular value of W is 1, so the layer keeps norms however wide it is. (The sum of two independent Gaussian
    shares has singular values from 0 to 2, and each share tells half of W's energy.)

    **Leaks** the owner of a square factor learns nothing of W: W is uniform given it. For o > d, A is tall, and its
    owner learns W's column space, which any d rows of z show as well; for o < d, B is wide, and its owner learns W's
    row space, which features the layer drops. Within those spaces W is uniform.
    """
    inner = min(width_out, width_in)
    factors = orthogonal_factor(host, width_out, inner), orthogonal_factor(collaborator, inner, width_in)
    # Multiples of 2^-16, as the encrypted schemes need them, so that all schemes start from the same W.
    left, right = (np.rint(factor * 2.0**FACTOR_BITS) * 2.0**-FACTOR_BITS for factor in factors)
    return left, right


class ReferenceLayer:
    """W in the clear."""

    def __init__(self, weights: Matrix) -> None:
        self.weights = np.array(weights, dtype=np.float64)

    def forward(self, features: Matrix) -> Matrix:
        """z = a W^T."""
        return features @ self.weights.T

    def backward(self, gradient: Matrix) -> Matrix:
        """da = dz W, with the weights that forward used."""
        return gradient @ self.weights

    def update(self, gradient: Matrix, features: Matrix, learning_rate: float) -> None:
        """W -= lr dz^T a."""
        self.weights -= learning_rate * (gradient.T @ features)
