"""What a ``tracksummary`` ROOT file says about tracks: of ACTS's ``RootTrackSummaryWriter`` or of this package.

The format does not hold the hits of a track, so this is no collection of `Tracks`: it is how long each track
is, its parameters, and which particle ACTS's truth matching found for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data.barcodes import BARCODE_BITS
from mltrack_plugin.event_data.file_tracks import TrackSummaries
from mltrack_plugin.io import root_file
from mltrack_plugin.io.tracksummary import PARAMETERS, TREE

_EVENT = "event_nr"
_MAJORITY = tuple(f"majorityParticleId_{part}" for part, _ in BARCODE_BITS)
_FIT = tuple(f"{name}_fit" for name in PARAMETERS[:5])
_ERROR = tuple(f"err_{name}_fit" for name in PARAMETERS[:5])
_REQUIRED = ("nMeasurements", "nMajorityHits", *_MAJORITY, *_FIT, *_ERROR)
#: Correlation of theta and q/p, which the error of q/pT needs; ACTS writes it on request.
_COVARIANCE = "cov_eTHETA_eQOP"
_CHUNK_BYTES = 16_000_000


def read_tracksummary(path: Path | str) -> Iterator[tuple[int, TrackSummaries]]:
    """Stream (event number, tracks) from a ``tracksummary`` file.

    Raises:
        InputError: if the file is missing or damaged, lacks a branch, or its branches differ in length.
    """
    with root_file.open_root(str(path)) as file:
        _, tree = root_file.find_tree(file, str(path), [TREE])
        place = f"{path}, tree {TREE!r}"
        branches = root_file.choose_branches(tree, place, {}, (_EVENT, *_REQUIRED), (_COVARIANCE,))
        for start, stop in itertools.pairwise(root_file.chunk_edges(tree, place, branches, _CHUNK_BYTES)):
            arrays = root_file.read_arrays(tree, place, branches, start, stop)
            numbers = root_file.scalars(arrays[_EVENT], f"{place}, branch {_EVENT!r}").tolist()
            yield from zip(numbers, _events(arrays, branches, place, numbers), strict=True)


def read_tracksummary_numbers(path: Path | str) -> list[int]:
    """Event numbers of a ``tracksummary`` file.

    Raises:
        InputError: as for :func:`read_tracksummary`, or if a number occurs twice.
    """
    with root_file.open_root(str(path)) as file:
        _, tree = root_file.find_tree(file, str(path), [TREE])
        place = f"{path}, tree {TREE!r}"
        root_file.choose_branches(tree, place, {}, (_EVENT,), ())
        arrays = root_file.read_arrays(tree, place, (_EVENT,), 0, tree.num_entries)
        numbers: list[int] = root_file.scalars(arrays[_EVENT], f"{place}, branch {_EVENT!r}").tolist()
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{path} holds some event numbers twice; it cannot be matched to its input")
    return numbers


def _events(
    arrays: Any, branches: dict[str, str], place: str, numbers: list[int]
) -> Iterator[TrackSummaries]:
    names = [n for n in branches if n != _EVENT]
    flat, edges = root_file.equal_lists(arrays, names, place, np.asarray(numbers))
    n = int(edges[-1])
    covariance = np.zeros((n, 5, 5))
    covariance[:, range(5), range(5)] = np.stack([flat[b] for b in _ERROR], axis=1).astype(np.float64) ** 2
    if _COVARIANCE in flat:
        covariance[:, 3, 4] = covariance[:, 4, 3] = np.nan_to_num(flat[_COVARIANCE])
    majority = np.stack([flat[b] for b in _MAJORITY], axis=1).astype(np.int64)
    perigee = np.stack([flat[b] for b in _FIT], axis=1).astype(np.float64)
    for first, last in itertools.pairwise(edges.tolist()):
        one = slice(first, last)
        yield TrackSummaries(
            flat["nMeasurements"][one].astype(np.int64),
            flat["nMajorityHits"][one].astype(np.int64),
            majority[one],
            perigee[one],
            covariance[one],
        )
