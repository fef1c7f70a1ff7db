"""Groups of hits from the classes of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Columns of choices and probabilities.
BEST, SECOND = range(2)


def settle(choices: Array, probabilities: Array, rounds: int) -> tuple[Array, Array]:
    """Let hits agree: the choices of each hit in the order of probability times squared popularity.

    The popularity of a class is the number of hits that choose it, each counted by its share of this product in the
    round before. The hits of a track at the border of a bin, some of which prefer the other side, end up in one class.

    Args:
        choices: (n, K) integers: the most probable classes of each hit.
        probabilities: (n, K) of these classes.
        rounds: how often popularity is counted anew; 0 = as given.

    Returns:
        choices and probabilities (n, K) in the new order.
    """
    share = probabilities.astype(np.float64)
    for _ in range(rounds if len(choices) else 0):
        popularity = np.bincount(choices.ravel(), weights=share.ravel())
        share = probabilities * popularity[choices] ** 2
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-30)
    order = np.argsort(-share, axis=1, kind="stable") if rounds else np.arange(choices.shape[1])[None]
    return np.take_along_axis(choices, order, axis=1), np.take_along_axis(probabilities, order, axis=1)


def class_groups(
    choices: Array,
    probabilities: Array,
    min_hits: int = 4,
    min_probability: float = 0.0,
    vote: bool = True,
    rounds: int = 0,
) -> tuple[Array, Array]:
    """Hits of the same class are a group.

    With ``rounds``, hits agree on classes before (:func:`settle`). With ``vote``, a hit whose class gathered fewer than
    ``min_hits`` hits goes to its second class if that gathered enough: a track near the border of a bin does not lose
    the hits that fell on the other side.

    Args:
        choices: (n, K) integers, K > 1: the most probable classes of each hit, best first.
        probabilities: (n, K) of these classes.
        min_hits: smaller groups are dropped.
        min_probability: a hit follows a class only if its probability reaches this.
        vote: see above.
        rounds: see above; 0 = no agreement.

    Returns:
        (n,) int64 class of each hit, -1 = in no group; (n,) float32 its probability, 0 where in no group.
    """
    if not len(choices):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    choices, probabilities = settle(choices, probabilities, rounds)
    follows = probabilities >= min_probability
    label = np.where(follows[:, BEST], choices[:, BEST], -1).astype(np.int64)
    value = probabilities[:, BEST].astype(np.float32)
    large = np.bincount(label[label >= 0], minlength=int(choices.max()) + 1) >= min_hits
    grouped = (label >= 0) & large[label]
    if vote:
        moved = ~grouped & follows[:, SECOND] & large[choices[:, SECOND]]
        label[moved], value[moved] = choices[moved, SECOND], probabilities[moved, SECOND]
        grouped |= moved
    return np.where(grouped, label, -1), np.where(grouped, value, np.float32(0.0))
