"""The data set of the HEP.TrkX graph and recurrent networks: QCD events in the barrel of the GenericDetector.

Farrell et al., "Novel deep learning methods for track reconstruction" (arXiv:1810.06111): "QCD data with pileup
mu = 10, pT > 1 GeV, barrel only, and duplicate hits removed", simulated with Pythia 8 and ACTS. One event is a hard
QCD collision with a Poisson number of inelastic ones on top.

Collisions are simulated in blocks. Validation and test events use each collision once, as simulated. A training event
puts together random collisions of one block, each turned and mirrored by its own random choice, so that a small
number of simulated collisions gives any number of training events.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_VOLUMES, distinct_per_layer
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.acts_chain import Primaries, require_acts, simulate_many
from mltrack_plugin.simulation.bank import ParticleBank, bank_from_events, stop_hadrons, stored_bank
from mltrack_plugin.simulation.base import SPLITS, CollisionConfig, Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.measured_event import measured_event

Array = npt.NDArray[Any]

#: Particles at larger pseudorapidity cannot reach the barrel or (with endcaps) leave enough hits.
_MAX_ETA = 4.0


class HeptrkxConfig(CollisionConfig):
    """Parameters of the HEP.TrkX events."""

    pileup: float = Field(10.0, ge=0.0, le=300.0)
    """Mean number of inelastic collisions on top of the hard one (Poisson)."""
    min_pt: float = Field(1.0, ge=0.1)
    """Smallest transverse momentum of a particle at production, GeV; softer ones are not simulated."""
    endcaps: bool = False
    """Keep the hits of the endcaps, too."""
    duplicates: bool = False
    """Keep further hits of a particle on a layer (from modules that overlap), too."""
    min_pt_hat: float = Field(1.0, gt=0.0)
    """Smallest transverse momentum exchange of the hard collision, GeV."""
    energy: float = Field(14000.0, gt=0.0)
    """Centre-of-mass energy, GeV."""
    augment: Literal["train", "always", "never"] = "train"
    """Put collisions together at random, turned and mirrored: "train" in the training split only, "always", "never"."""
    block: int = Field(250, ge=1)
    """Events whose collisions are simulated together."""
    blocks: int = Field(8, ge=1)
    """Blocks that the events of an augmented split are made from."""
    bank_dir: Path | None = None
    """Folder where simulated collisions are kept between runs; without it they live in memory."""

    @model_validator(mode="after")
    def _transverse(self) -> Self:
        if self.min_pt_hat < 1.0:
            # The perturbative cross section diverges there.
            raise ValueError(f"min_pt_hat must be at least 1 GeV, got {self.min_pt_hat}")
        return self


#: Parameters that do not change what is simulated.
_AFTERWARDS = {"endcaps", "duplicates", "augment", "blocks", "bank_dir"}


class HeptrkxDataset(Dataset):
    """QCD events with pile-up; hits ordered by module."""

    Config: ClassVar[type[Config]] = HeptrkxConfig

    def __init__(self, name: str, tag: int, settings: Any) -> None:
        super().__init__(name, tag, settings)
        self._blocks: dict[tuple[str, int, int], tuple[ParticleBank, Array]] = {}

    @property
    def detector(self) -> str:
        return "generic"

    def parameters(self) -> dict[str, Any]:
        """Parameters that decide what is in the events; where collisions are kept does not."""
        return {name: value for name, value in super().parameters().items() if name != "bank_dir"}

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first event of a block simulates or loads the block's collisions."""
        config: HeptrkxConfig = self.config
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        if config.augment == "always" or (config.augment == "train" and split == "train"):
            bank, starts = self.block(int(rng.integers(config.blocks)), seed=seed, split=split)
            n_soft = bank.n_sources - config.block
            n = min(int(rng.poisson(config.pileup)), n_soft)
            soft = config.block + rng.choice(n_soft, size=n, replace=False)
            return self._compose(bank, np.append(rng.integers(config.block), soft), rng)
        bank, starts = self.block(index // config.block, seed=seed, split=split)
        row = index % config.block
        return self._compose(bank, np.append(row, np.arange(starts[row], starts[row + 1])), None)

    def block(self, number: int, *, seed: int, split: str) -> tuple[ParticleBank, Array]:
        """The simulated collisions of one block.

        Returns:
            Bank whose sources are collisions, first the hard ones, and (block + 1,) int64: event i of the block owns
            the soft collisions ``starts[i]:starts[i + 1]``.

        Raises:
            MissingExtraError: if it must be simulated and pyacts or pythia8mc is not installed.
            ConfigurationError: if a kept bank was made with other parameters.
        """
        self.entropy(number, seed, split)
        key = (split, seed, number)
        if key not in self._blocks:
            # Validation and test run through the blocks one by one; only training returns to earlier ones.
            if split != "train":
                self._blocks = {k: v for k, v in self._blocks.items() if k[0] == "train"}
            rng = np.random.default_rng([self.tag, SPLITS[split], seed, number, 1])
            counts = rng.poisson(self.config.pileup, self.config.block)
            starts = self.config.block + np.concatenate([[0], np.cumsum(counts)])
            self._blocks[key] = (self._load_or_simulate(number, seed, split, int(counts.sum())), starts)
        return self._blocks[key]

    def _load_or_simulate(self, number: int, seed: int, split: str, n_soft: int) -> ParticleBank:
        config: HeptrkxConfig = self.config
        values = {name: value for name, value in self.parameters().items() if name not in _AFTERWARDS}
        provenance = json.dumps({"seed": seed, "split": split, "number": number, **values}, sort_keys=True)
        return stored_bank(
            config.bank_dir,
            f"{self.name}-{split}-{seed}-{number}.npz",
            provenance,
            lambda: self._simulate(number, seed, split, n_soft),
        )

    def _simulate(self, number: int, seed: int, split: str, n_soft: int) -> ParticleBank:
        config: HeptrkxConfig = self.config
        *seeds, detector_seed = np.random.SeedSequence([self.tag, SPLITS[split], seed, number, 0]).spawn(3)
        collisions = qcd_collisions(config, _MAX_ETA, config.block, n_soft, seeds)
        rng = np.random.default_rng(detector_seed)
        events = simulate_many(
            collisions, int(rng.integers(2**62)), field=config.field, resolution=config.resolution
        )
        stopped = [stop_hadrons(event, config.hadron_stop, rng) for event in events]
        return bank_from_events(stopped, min_pt=config.min_pt, max_eta=_MAX_ETA)

    def _compose(
        self, bank: ParticleBank, collisions: Array, rng: np.random.Generator | None
    ) -> SimulatedEvent:
        """The collisions as one event; turned and mirrored one by one if ``rng`` is given."""
        first, last = bank.source_offsets[collisions], bank.source_offsets[collisions + 1]
        particles = ranges(first, last)
        counts = bank.n_hits[particles]
        rows = ranges(bank.hit_offsets[particles], bank.hit_offsets[particles + 1])
        track = np.repeat(np.arange(len(particles)), counts)
        position, geometry_id = bank.position[rows], bank.geometry_id[rows]
        vertex, momentum = bank.vertex[particles], bank.momentum[particles]
        if rng is not None:
            collision = np.repeat(np.arange(len(collisions)), last - first)
            angle = rng.uniform(-np.pi, np.pi, len(collisions))[collision]
            mirror = np.where(rng.random(len(collisions)) < 0.5, -1.0, 1.0)[collision]
            position = _turned(position, angle[track], mirror[track])
            vertex, momentum = _turned(vertex, angle, mirror), _turned(momentum, angle, mirror)
        volume, layer, _ = split_geometry_id(geometry_id)
        keep = np.ones(len(rows), dtype=bool) if self.config.endcaps else np.isin(volume, BARREL_VOLUMES)
        if not self.config.duplicates:
            radius = np.hypot(position[:, 0], position[:, 1])
            keep[keep] = distinct_per_layer(track[keep], volume[keep], layer[keep], radius[keep])
        chosen = np.flatnonzero(keep)
        chosen = chosen[np.argsort(geometry_id[chosen], kind="stable")]
        nhits = np.bincount(track[chosen], minlength=len(particles))
        seen = np.flatnonzero(nhits)
        return measured_event(
            position=position[chosen],
            geometry_id=geometry_id[chosen],
            truth=(particles[track[chosen]] + 1).astype(np.uint64),
            particle_id=(particles[seen] + 1).astype(np.uint64),
            vertex=vertex[seen],
            momentum=momentum[seen],
            charge=bank.charge[particles[seen]],
            pdg=bank.pdg[particles[seen]],
            nhits=nhits[seen],
        )


def qcd_collisions(
    config: HeptrkxConfig, max_eta: float, n_hard: int, n_soft: int, seeds: Sequence[np.random.SeedSequence]
) -> list[Primaries]:
    """Particles of hard collisions, then of soft ones.

    Args:
        config: energy, beam spot, momentum transfer and smallest momentum.
        max_eta: particles beyond this absolute pseudorapidity are left out.
        n_hard: number of hard collisions.
        n_soft: number of soft ones.
        seeds: of the hard ones and of the soft ones.

    Raises:
        MissingExtraError: if pyacts or pythia8mc is not installed.
    """
    from mltrack_plugin.simulation.pythia import PythiaCollisions

    require_acts()
    common: dict[str, Any] = {
        "energy": config.energy,
        "beam_spot": (config.beam_sigma_xy, config.beam_sigma_xy, config.beam_sigma_z),
        "min_pt": config.min_pt,
        "max_eta": max_eta,
    }
    process = ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {config.min_pt_hat}")
    hard = PythiaCollisions(seeds[0], pileup=0, hard_process=process, **common)
    collisions: list[Primaries] = [hard.next() for _ in range(n_hard)]
    if n_soft:
        soft = PythiaCollisions(seeds[1], pileup=1, hard_process=(), **common)
        collisions += [soft.next() for _ in range(n_soft)]
    return collisions


def ranges(first: Array, last: Array) -> Array:
    """The numbers ``first[0]..last[0] - 1, first[1]..last[1] - 1, ...`` as int64."""
    counts = last - first
    return np.asarray(np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts))


def _turned(vectors: Array, angle: Array, mirror: Array) -> Array:
    """Vectors (n, 3) turned around z, each by its angle, z times ``mirror``; float32."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y, z = vectors.T
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, mirror * z], axis=1).astype(np.float32)
