"""Proton-proton collisions with Pythia 8: the source of TrackML-like events.

One source event is a top-quark pair with ``pileup`` inelastic collisions on top, as in TrackML. All
vertices are drawn from the same Gaussian beam spot. Pythia decays everything short-lived, so K0s and Lambda
give displaced charged particles; photons are kept for conversions in the detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import MltrackError, require_extra
from mltrack_plugin.simulation.acts_chain import Primaries

Array = npt.NDArray[Any]

#: Columns that are read from Pythia's event record.
_PDG, _CHARGE, _MASS, _X, _PX = 0, 1, 2, 3, 7
#: Particles born outside this cylinder (mm) cannot leave hits in the GenericDetector.
_MAX_RADIUS, _MAX_Z = 1025.0, 2960.0


class PythiaCollisions:
    """Two Pythia instances, one for the hard process and one for pile-up.

    Args:
        seed: of both generators and the vertices; the same seed gives the same sequence of events.
        pileup: inelastic collisions on top of the hard one.
        energy: centre-of-mass energy, GeV.
        hard_process: Pythia setting that switches the hard process on, or several settings; none = no hard process.
        beam_spot: standard deviations of the vertices in x, y, z, mm.
        min_pt: particles below this transverse momentum are not handed on, GeV.
        max_eta: particles beyond this pseudorapidity are not handed on.

    Raises:
        MissingExtraError: without pythia8mc.
    """

    def __init__(
        self,
        seed: np.random.SeedSequence,
        *,
        pileup: int = 200,
        energy: float = 14000.0,
        hard_process: str | Sequence[str] = "Top:gg2ttbar = on",
        beam_spot: tuple[float, float, float] = (0.013, 0.013, 5.5),
        min_pt: float = 0.1,
        max_eta: float = 4.5,
    ) -> None:
        self.pileup = pileup
        self.beam_spot = beam_spot
        self.min_pt = min_pt
        self.max_eta = max_eta
        hard_seed, soft_seed, vertex_seed = seed.spawn(3)
        self._rng = np.random.default_rng(vertex_seed)
        settings = [hard_process] if isinstance(hard_process, str) else list(hard_process)
        self._hard = _pythia(settings, energy, hard_seed) if hard_process else None
        self._soft = _pythia(["SoftQCD:inelastic = on"], energy, soft_seed) if pileup else None

    def restart(self, seed: np.random.SeedSequence) -> None:
        """Make the events from here on depend on this seed alone, not on those generated before."""
        hard_seed, soft_seed, vertex_seed = seed.spawn(3)
        self._rng = np.random.default_rng(vertex_seed)
        for generator, new in ((self._hard, hard_seed), (self._soft, soft_seed)):
            if generator is not None:
                generator.rndm.init(_seed_number(new))

    def next(self) -> Primaries:
        """The next source event."""
        collisions = []
        if self._hard is not None:
            collisions.append(self._collision(self._hard))
        if self._soft is not None:
            collisions.extend(self._collision(self._soft) for _ in range(self.pileup))
        table = np.concatenate(collisions)
        return Primaries(
            pdg=table[:, _PDG].astype(np.int64),
            charge=table[:, _CHARGE],
            mass=table[:, _MASS],
            position=table[:, _X : _X + 4],
            momentum=table[:, _PX : _PX + 3],
        )

    def _collision(self, generator: Any) -> Array:
        for _ in range(100):
            if generator.next():
                break
        else:
            raise MltrackError("Pythia failed to generate a collision 100 times in a row")
        rows = [
            (p.id(), p.charge(), p.m(), p.xProd(), p.yProd(), p.zProd(), p.tProd(), p.px(), p.py(), p.pz())
            for p in generator.event
            if p.isFinal() and (p.isCharged() or p.id() == 22)
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 10)
        pt: Array = np.hypot(table[:, _PX], table[:, _PX + 1])
        with np.errstate(divide="ignore"):
            seen = (pt >= self.min_pt) & (np.abs(table[:, _PX + 2]) <= np.sinh(self.max_eta) * pt)
        inside = (np.hypot(table[:, _X], table[:, _X + 1]) < _MAX_RADIUS) & (
            np.abs(table[:, _X + 2]) < _MAX_Z
        )
        table = np.asarray(table[seen & inside])
        table[:, _X : _X + 3] += self._rng.normal(0.0, self.beam_spot)
        return table


def _pythia(settings: Sequence[str], energy: float, seed: np.random.SeedSequence) -> Any:
    pythia8 = require_extra("pythia8mc", "acts", "generating proton-proton collisions")
    generator = pythia8.Pythia("", False)
    common = [
        "Print:quiet = on",
        f"Beams:eCM = {energy}",
        "Random:setSeed = on",
        f"Random:seed = {_seed_number(seed)}",
    ]
    for setting in (*common, *settings):
        if not generator.readString(setting):
            raise MltrackError(f"Pythia does not accept the setting {setting!r}")
    if not generator.init():
        raise MltrackError(f"Pythia could not be initialised with {settings}")
    return generator


def _seed_number(seed: np.random.SeedSequence) -> int:
    # Pythia's seeds end at 900 000 000.
    return 1 + int(seed.generate_state(1, np.uint64)[0] % 899_999_999)
