"""Tables 1 to 3 of Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs".

Keys are (data set, design). The authors measured on their own events: REDVID's simulator, and subsets of TrackML's.
"""

from __future__ import annotations

#: The five data sets, by their names in ``mltrack simulate``.
DATASETS = (
    "redvid-10-50-linear",
    "redvid-10-50-helical",
    "redvid-50-100-helical",
    "trackml-10-50",
    "trackml-200-500",
)
#: The published designs, in the order of Table 1.
DESIGNS = ("EncDec", "EncCla", "EncReg", "EncReg-FA", "U-Net")

#: Table 1: FitAccuracy in percent, which the published code computes as the TrackML score is defined. Hits of EncDec's
#: seeds are not counted.
FIT_ACCURACY = {
    ("redvid-10-50-linear", "EncDec"): 93,
    ("redvid-10-50-linear", "EncCla"): 93,
    ("redvid-10-50-linear", "EncReg"): 97,
    ("redvid-10-50-linear", "U-Net"): 68,
    ("redvid-10-50-helical", "EncDec"): 85,
    ("redvid-10-50-helical", "EncCla"): 93,
    ("redvid-10-50-helical", "EncReg"): 92,
    ("redvid-10-50-helical", "U-Net"): 62,
    ("redvid-50-100-helical", "EncDec"): 85,
    ("redvid-50-100-helical", "EncCla"): 88,
    ("redvid-50-100-helical", "EncReg"): 85,
    ("redvid-50-100-helical", "U-Net"): 57,
    ("trackml-10-50", "EncDec"): 26,
    ("trackml-10-50", "EncCla"): 94,
    ("trackml-10-50", "EncReg"): 93,
    ("trackml-200-500", "EncCla"): 78,
    ("trackml-200-500", "EncReg"): 70,
    ("trackml-200-500", "EncReg-FA"): 67,
}

#: Table 2: (perfect match, LHC-style match, double majority) in percent.
EFFICIENCIES = {
    ("redvid-10-50-linear", "EncReg"): (94, 97, 98),
    ("redvid-10-50-helical", "EncReg"): (78, 94, 96),
    ("redvid-50-100-helical", "EncReg"): (60, 89, 92),
    ("trackml-10-50", "EncReg"): (78, 91, 97),
    ("trackml-200-500", "EncReg"): (40, 75, 82),
    ("trackml-200-500", "EncReg-FA"): (36, 72, 79),
}

#: Table 3: milliseconds per event (CPU side, GPU side) on an A100 with 18 CPU cores, the first event left out. The CPU
#: side of EncReg is almost all HDBSCAN.
TIMES = {
    ("redvid-10-50-linear", "EncCla"): (0.1, 4.0),
    ("redvid-10-50-linear", "EncReg"): (8.3, 2.4),
    ("redvid-10-50-helical", "EncCla"): (0.1, 4.1),
    ("redvid-10-50-helical", "EncReg"): (8.7, 2.3),
    ("redvid-50-100-helical", "EncCla"): (0.1, 4.3),
    ("redvid-50-100-helical", "EncReg"): (18.6, 4.1),
    ("trackml-10-50", "EncCla"): (0.1, 4.0),
    ("trackml-10-50", "EncReg"): (5.8, 2.2),
    ("trackml-200-500", "EncCla"): (0.1, 7.0),
    ("trackml-200-500", "EncReg"): (70.5, 31.9),
    ("trackml-200-500", "EncReg-FA"): (72.2, 3.6),
}
