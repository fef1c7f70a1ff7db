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
    if not len(choices):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    follows = probabilities >= min_probability
    label = np.where(follows[:, 0], choices[:, 0], -1).astype(np.int64)
    value = probabilities[:, 0].astype(np.float32)
    large = np.bincount(label[label >= 0], minlength=int(choices.max()) + 1) >= min_hits
    grouped = (label >= 0) & large[label]
    if vote:
        moved = ~grouped & follows[:, 1] & large[choices[:, 1]]
        label[moved], value[moved] = choices[moved, 1], probabilities[moved, 1]
        grouped |= moved
    return np.where(grouped, label, -1), np.where(grouped, value, np.float32(0.0))
