"""Full events from HepMC3 files, with pile-up."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.errors import ConfigurationError, InputError, require_extra
from mltrack_plugin.simulation.acts_chain import (
    PURPOSE,
    DetectorEvent,
    new_sequencer,
    require_acts,
    run_detector,
)
from mltrack_plugin.simulation.bank import stop_hadrons
from mltrack_plugin.simulation.base import Dataset, FullEventConfig, split_window
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.full_event import full_event

#: Events simulated in one ACTS job: bounds the memory, and how far the files are skipped through again.
EVENTS_PER_JOB = 20


class HepmcConfig(FullEventConfig):
    """Parameters of events from HepMC3 files."""

    hepmc: Path | None = None
    """HepMC3 file (ascii, also gzipped) with the hard collisions, one per event."""
    pileup_hepmc: Path | None = None
    """HepMC3 file with the pile-up collisions."""
    pileup: int = Field(0, ge=0)
    """Pile-up collisions per event."""
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the files' collisions that go to training, validation and test, in this order."""
    hadron_stop: float = Field(0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.pileup > 0) != (self.pileup_hepmc is not None):
            raise ValueError("pileup and pileup_hepmc belong together: give both or neither")
        if self.hepmc is None and self.pileup_hepmc is None:
            raise ValueError("give a HepMC3 file: hepmc, or pileup_hepmc with pileup, or both")
        if min(self.shares) < 0 or not 0 < sum(self.shares) <= 1 + 1e-9:
            raise ValueError(f"shares must not be negative and sum up to at most 1, got {self.shares}")
        return self


class HepmcDataset(Dataset):
    """Events of HepMC3 files. Splits own different collisions, by position in the file."""

    Config = HepmcConfig

    @property
    def detector(self) -> str:
        return "generic"

    def inputs(self) -> list[tuple[Path, int]]:
        """Files and how many of their collisions enter one event."""
        config: HepmcConfig = self.config
        pairs = [(config.hepmc, 1), (config.pileup_hepmc, config.pileup)]
        return [(path, count) for path, count in pairs if path is not None]

    def window(self, split: str) -> tuple[int, int]:
        """First event of a split, and number of its events, in the order of the files.

        Raises:
            InputError: if a file is missing or holds no event.
        """
        available = min(count_collisions(path) // count for path, count in self.inputs())
        return split_window(available, self.config.shares, split)

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; skips through the files, ``events`` is faster."""
        return self._finish(self._simulate(index, 1, seed, split)[0], index, seed, split)

    def events(self, n: int, seed: int, split: str) -> Iterator[SimulatedEvent]:
        """Events 0 to n - 1.

        Raises:
            ConfigurationError: if the split owns fewer collisions than needed.
        """
        for start in range(0, n, EVENTS_PER_JOB):
            job = self._simulate(start, min(EVENTS_PER_JOB, n - start), seed, split, needed=n)
            for offset, event in enumerate(job):
                yield self._finish(event, start + offset, seed, split)

    def _finish(self, event: DetectorEvent, index: int, seed: int, split: str) -> SimulatedEvent:
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        return full_event(stop_hadrons(event, self.config.hadron_stop, rng), self.config.noise, rng)

    def _simulate(
        self, start: int, n: int, seed: int, split: str, needed: int | None = None
    ) -> list[DetectorEvent]:
        require_acts()
        number = int(np.random.default_rng(self.entropy(0, seed, split)).integers(2**62))
        first, size = self.window(split)
        needed = needed or start + n
        if needed > size:
            have = ", ".join(
                f"{count_collisions(path)} in {path} ({count} per event)" for path, count in self.inputs()
            )
            raise ConfigurationError(
                f"{self.name}: the {split} split owns {size} events, {needed} are asked for; "
                f"collisions: {have}. "
                "Give larger files, less pile-up, or other --shares"
            )
        config = self.config
        sequencer = new_sequencer(n, skip=first + start)
        _add_reader(
            sequencer, self.inputs(), first + start + n, number, config.beam_sigma_xy, config.beam_sigma_z
        )
        try:
            return run_detector(sequencer, number, field=config.field, resolution=config.resolution)
        except RuntimeError as error:
            # The lines that ACTS and HepMC3 print before this name the file and the collision.
            files = " or ".join(str(path) for path, _ in self.inputs())
            raise InputError(f"a collision in {files} cannot be read or simulated: {error}") from error


@functools.cache
def count_collisions(path: Path) -> int:
    """Number of collisions in a HepMC3 ascii file, gzipped or not.

    Raises:
        InputError: if it cannot be read or is no HepMC3 ascii file.
    """
    import gzip
    import zlib

    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        opener: Any = gzip.open if packed else Path.open
        with opener(path, "rb") as file:
            head = file.readline()
            if not head.startswith(b"HepMC::Version"):
                raise InputError(
                    f"{path} is not a HepMC3 ascii file: it does not begin with 'HepMC::Version'"
                )
            count = _checked_count(file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read the HepMC3 file {path}: {error}") from error
    if not count:
        raise InputError(f"{path} holds no collisions")
    return count


def _checked_count(lines: Iterable[bytes], path: Path) -> int:
    """Number of collisions; each must have the number of particles that its header line announces."""
    count = announced = found = 0
    for line in lines:
        if line.startswith(b"P "):
            found += 1
        elif line.startswith((b"E ", b"HepMC::Asciiv3-END")):
            if found != announced:
                break
            if line.startswith(b"E "):
                count += 1
                fields = line.split()
                announced = int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else -1
                found = 0
    if found != announced:
        raise InputError(
            f"{path}: collision {count - 1} is damaged or cut off: its header announces {announced} "
            f"particles, {found} follow"
        )
    return count


def _add_reader(
    sequencer: Any, inputs: list[tuple[Path, int]], n_events: int, seed: int, sigma_xy: float, sigma_z: float
) -> None:
    """Read collisions, move each to its own vertex, and provide ``particles_generated``."""
    acts = require_acts()
    examples = require_extra("acts.examples", "acts", PURPOSE)
    hepmc3 = require_extra("acts.examples.hepmc3", "acts", PURPOSE)
    vertices = examples.GaussianVertexGenerator(
        mean=acts.Vector4(0, 0, 0, 0), stddev=acts.Vector4(sigma_xy, sigma_xy, sigma_z, 0)
    )
    sequencer.addReader(
        hepmc3.HepMC3Reader(
            level=acts.logging.WARNING,
            inputs=[hepmc3.HepMC3Reader.Input.Fixed(str(path), count) for path, count in inputs],
            numEvents=n_events,
            outputEvent="hepmc3_event",
            randomNumbers=examples.RandomNumbers(seed=seed),
            vertexGenerator=vertices,
        )
    )
    sequencer.addAlgorithm(
        hepmc3.HepMC3InputConverter(
            level=acts.logging.ERROR,
            inputEvent="hepmc3_event",
            outputParticles="particles_generated",
            outputVertices="vertices_generated",
        )
    )
