"""What is known of a detector: surfaces, field, resolution, material, and which detector hits are from.

load_detector(name_or_path)     a Detector, shipped, provided by another package, or from a YAML file
available_detectors()           names of those that are known
recognise(hits, stated=...)     the detector that hits lie on
"""

from __future__ import annotations

from mltrack_plugin.detectors.detector import Detector, TrackShape
from mltrack_plugin.detectors.fields import ConstantField, NoField
from mltrack_plugin.detectors.library import (
    available_detectors,
    find_detector,
    has_momenta,
    load_detector,
    lookup,
    names_of,
    same_detector,
)
from mltrack_plugin.detectors.recognition import Recognised, recognise
from mltrack_plugin.detectors.resolution import Resolution

__all__ = [
    "ConstantField",
    "Detector",
    "NoField",
    "Recognised",
    "Resolution",
    "TrackShape",
    "available_detectors",
    "find_detector",
    "has_momenta",
    "load_detector",
    "lookup",
    "names_of",
    "recognise",
    "same_detector",
]
