"""Which job fits an input: detector, the model's ranges, straight or curved tracks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from model_fixtures import make_card

from mltrack_plugin.detectors import load_detector
from mltrack_plugin.errors import ConfigurationError, EventError, InputError, ModelError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.framework.algorithm import Reader, ReadEvent
from mltrack_plugin.jobs import choice as job_choice
from mltrack_plugin.jobs.choice import choose_job, fitting_jobs, look_at, straight_fraction
from mltrack_plugin.jobs.config import parse_job
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event

REDVID = {"r": [0.0, 8.0], "z": [-11.0, 11.0], "n_hits": [20, 500]}
BIG = {"r": [30.0, 1100.0], "z": [-3100.0, 3100.0], "n_hits": [50, 800]}
JOBS = {
    "helical": ("redvid", "expanding-helix", REDVID),
    "linear": ("redvid", "straight", REDVID),
    "trackml": ("generic", "helix", BIG),
}


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs, as the shipped ones, with models of known ranges."""

    def load(name: str) -> Any:
        detector, tracks, _ = JOBS[name]
        head = f"name: {name}\ndetector: {detector}\ntracks: {tracks}\n"
        head += "general: false\n" if name.startswith("special") else ""
        head += "first_choice: true\n" if name.endswith("first") else ""
        return parse_job(head + f"sequence: [{{algorithm: encreg, model: {name}}}]", name)

    monkeypatch.setattr("mltrack_plugin.jobs.config.available_jobs", lambda: sorted(JOBS))
    monkeypatch.setattr("mltrack_plugin.jobs.config.load_job", load)
    monkeypatch.setattr(job_choice, "_card", lambda name: make_card(validity=JOBS[name][2]))


class Events(Reader):
    """Hits from memory; ``None`` is an event that cannot be read."""

    def __init__(
        self, hits: list[Hits | None], detector: str | None = None, dataset: str | None = None
    ) -> None:
        super().__init__()
        self.hits, self.detector, self.dataset = hits, detector, dataset
        self.write_handle(Hits, "points")

    @property
    def source(self) -> str:
        return "events.test"

    def num_events(self) -> int:
        return len(self.hits)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        for i, hits in enumerate(self.hits[start:stop]):
            if hits is None:
                yield ReadEvent(i, i, error=EventError("NaN everywhere"))
            else:
                yield ReadEvent(i, i, {"points": hits})


def redvid(kind: Any = "linear", n: int = 5, **settings: Any) -> list[Hits | None]:
    config = RedvidConfig(track_type=kind, **settings)
    return [redvid_event(config, (7, i)).hits for i in range(n)]


def large(n_hits: int = 300, scale: float = 1.0, n: int = 3) -> list[Hits | None]:
    """Hits all over the generic detector."""
    rng = np.random.default_rng(3)
    layers = load_detector("generic").layers
    events: list[Hits | None] = []
    for _ in range(n):
        layer = rng.integers(len(layers.at), size=n_hits)
        phi, along = rng.uniform(-3, 3, n_hits), rng.uniform(*layers.extent[layer].T)
        r, z = np.where(layers.kind[layer] == "barrel", (layers.at[layer], along), (along, layers.at[layer]))
        positions = {"x": r * np.cos(phi) * scale, "y": r * np.sin(phi) * scale, "z": z * scale}
        events.append(Hits(hit_id=np.arange(n_hits), **positions))
    return events


@pytest.mark.parametrize("kind", ["linear", "helical"])
@pytest.mark.parametrize("settings", [{}, {"noise": 0.3}, {"tracks": (10, 12)}])
@pytest.mark.parametrize("detector", ["redvid", None])
def test_straight_and_curved_redvid_events(kind: str, settings: Any, detector: str | None) -> None:
    name, reason = choose_job(Events(redvid(kind, **settings), detector))
    assert name == kind
    assert "on straight lines from the origin" in reason


def test_names_of_data_sets_decide_nothing() -> None:
    assert choose_job(Events(redvid("linear"), "redvid", "redvid-10-50-helical"))[0] == "linear"


def test_the_detector_is_recognised_by_the_hits() -> None:
    name, reason = choose_job(Events(large()))
    assert name == "trackml"
    assert "detector generic: 100.0% of 900 hits lie on its layers; 300 hits per event" in reason
    assert choose_job(Events(large(), "generic"))[0] == "trackml"


@pytest.mark.parametrize("scale", [1.2, 3.0])
def test_an_unknown_detector_is_never_the_generic_one(scale: float) -> None:
    with pytest.raises(
        ConfigurationError, match=r"the detector of events.test is not known: of 900 hits .*generic"
    ):
        choose_job(Events(large(scale=scale)))
    with pytest.raises(
        ConfigurationError, match=r"stated to be of the detector generic, but of 900 hits only"
    ):
        choose_job(Events(large(scale=scale), "trackml"))
    with pytest.raises(
        ConfigurationError, match=r"of the detector 'odd', of which there is no description.*--detector"
    ):
        choose_job(Events(large(), "odd"))


@pytest.mark.parametrize(
    ("events", "detector", "message"),
    [
        (redvid("linear"), "redvid", "trackml: made for the detector generic, the input is from redvid"),
        (
            large(n_hits=2000),
            "trackml",
            "trackml: events have up to 2000 hits, the model was trained with at most 800",
        ),
        (large(), None, r"\d\d% of the hits have r outside \[0, 8\], the range of the model"),
    ],
)
def test_no_job_fits(
    events: Any, detector: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("linear", "helical"):
        monkeypatch.setitem(JOBS, name, ("generic", "helix", REDVID))
    if detector is None:
        monkeypatch.delitem(JOBS, "trackml")
    with pytest.raises(ConfigurationError, match=r"no shipped job configuration fits events.test:") as caught:
        choose_job(Events(events, detector))
    with pytest.raises(ConfigurationError, match=message):
        raise caught.value
    assert "--config" in str(caught.value)


@pytest.mark.parametrize(("scale", "unit"), [(1e-3, "m"), (0.1, "cm"), (1e3, "um")])
def test_hits_in_another_unit_are_told(scale: float, unit: str) -> None:
    for detector in (None, "trackml"):
        with pytest.raises(
            ConfigurationError, match=rf"lie on generic if their unit were {unit}: .*length_unit: {unit}}}"
        ):
            choose_job(Events(large(scale=scale), detector))


def test_all_jobs_with_their_reasons() -> None:
    verdicts = {
        name: (fits, reason) for name, fits, reason in fitting_jobs(look_at(Events(redvid(), "redvid")))
    }
    assert [verdicts[n][0] for n in ("linear", "helical", "trackml")] == [True, True, False]
    assert "the input is from redvid" in verdicts["trackml"][1]


def test_a_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModelError(f"no shipped model {name!r}")

    monkeypatch.setattr(job_choice, "_card", missing)
    assert {fits for _, fits, _ in fitting_jobs(look_at(Events(redvid(), "redvid")))} == {False}
    with pytest.raises(ConfigurationError, match="its model cannot be used: no shipped model 'linear'"):
        choose_job(Events(redvid(), "redvid"))


def test_ambiguity_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JOBS, "other", ("trackml", "helix", BIG))
    with pytest.raises(
        ConfigurationError, match=r"several job configurations fit .* equally well: other, trackml"
    ):
        choose_job(Events(large(), "trackml"))


def test_a_first_choice_wins_and_the_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JOBS, "best-first", ("trackml", "helix", BIG))
    name, reason = choose_job(Events(large(), "trackml"))
    assert name == "best-first"
    assert reason.endswith("; others fit as well: --config trackml")
    # Two first choices are none.
    monkeypatch.setitem(JOBS, "second-first", ("trackml", "helix", BIG))
    with pytest.raises(ConfigurationError, match="best-first, second-first, trackml"):
        choose_job(Events(large(), "trackml"))


def test_a_special_job_runs_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JOBS, "special", ("trackml", "helix", BIG))
    assert choose_job(Events(large(), "trackml", "barrel-tracks"))[0] == "trackml"
    verdicts = {
        name: (fits, reason) for name, fits, reason in fitting_jobs(look_at(Events(large(), "trackml")))
    }
    assert verdicts["special"] == (False, "chosen only where it is named: --config special")


def test_bad_and_empty_events_are_passed_over() -> None:
    empty = Hits(hit_id=[], x=[], y=[], z=[])
    assert choose_job(Events([None, empty, *large()], "trackml"))[0] == "trackml"
    assert choose_job(Events([empty], "trackml"))[0] == "trackml"
    with pytest.raises(InputError, match="none of the first 20 events can be read: NaN everywhere"):
        choose_job(Events([None, None]))


def test_one_dense_event_does_not_spoil_the_choice() -> None:
    assert choose_job(Events([*large(n=19), *large(n=1, n_hits=900)], "trackml"))[0] == "trackml"


def test_straight_fraction_by_hand() -> None:
    """Four hits on one line, two on another, one alone: four of seven have three mates."""
    t = np.array([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 5.0])
    direction = np.array([[1, 0.0, 0.5]] * 4 + [[0, 1, 2.0]] * 2 + [[-1, -1, -1.0]])
    x, y, z = (direction * t[:, None]).T
    assert straight_fraction(Hits(hit_id=np.arange(7), x=x, y=y, z=z)) == pytest.approx(4 / 7)
    # The azimuth is periodic: a line along phi = pi.
    tiny = np.array([1e-3, -1e-3, 1e-3, -1e-3])
    assert (
        straight_fraction(Hits(hit_id=np.arange(4), x=[-1, -2, -3, -4], y=tiny, z=[0.1, 0.2, 0.3, 0.4])) == 1
    )
