"""Groups of hits from the classes of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def class_groups(
    choices: Array, probabilities: Array, min_hits: int = 4, min_probability: float = 0.0, vote: bool = True
) -> tuple[Array, Array]:
    """Hits of the same class are a group.

    With ``vote``, a hit whose class gathered fewer than ``min_hits`` hits goes to its second class if that gathered
    enough: a track near the border of a bin does not lose the hits that fell on the other side.

    Args:
        choices: (n, 2) integers: most probable and second class of each hit.
        probabilities: (n, 2) of these classes.
        min_hits: smaller groups are dropped.
        min_probability: a hit follows a class only if its probability reaches this.
        vote: see above.

    Returns:
        (n,) int64 class of each hit, -1 = in no group; (n,) float32 its probability, 0 where in no group.
    """
    follows = probabilities >= min_probability
    label = np.where(follows[:, 0], choices[:, 0], -1).astype(np.int64)
    value = probabilities[:, 0].astype(np.float32)
    if not len(label):
        return label, value
    size = np.bincount(choices.max() * (label < 0) + np.maximum(label, 0), weights=label >= 0)
    size = np.append(size, np.zeros(max(0, int(choices.max()) + 1 - len(size))))
    small = (label < 0) | (size[np.maximum(label, 0)] < min_hits)
    if vote:
        moved = small & follows[:, 1] & (size[choices[:, 1]] >= min_hits)
        label = np.where(moved, choices[:, 1], label)
        value = np.where(moved, probabilities[:, 1].astype(np.float32), value)
        small &= ~moved
    return np.where(small, -1, label), np.where(small, np.float32(0.0), value)
