"""A network that never comes to an end is an error, at loading and at its first call."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from model_fixtures import features, make_card

from mltrack_plugin.archives import time_limit
from mltrack_plugin.archives.time_limit import call_seconds, within
from mltrack_plugin.archives.track_model import TrackModel
from mltrack_plugin.errors import EventError, ModelError


def spin(stop: threading.Event) -> None:
    while not stop.is_set():
        pass


def test_results_and_errors_come_back() -> None:
    assert within(5.0, lambda: 42, "model.pt", "loading") == 42

    def fail() -> None:
        raise EventError("as it was raised")

    with pytest.raises(EventError, match="as it was raised"):
        within(5.0, fail, "model.pt", "loading")


def test_time_of_the_processor_is_limited() -> None:
    stop = threading.Event()
    with pytest.raises(ModelError, match=r"model\.pt: loading took more than 0 s of CPU time"):
        within(0.2, lambda: spin(stop), "model.pt", "loading")
    stop.set()


def test_waiting_is_limited_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "_CLOCK_FACTOR", 2)
    stop = threading.Event()
    started = time.monotonic()
    with pytest.raises(ModelError, match="took more than"):
        within(0.3, lambda: stop.wait(60), "model.pt", "loading")
    stop.set()
    assert time.monotonic() - started < 30


def test_large_events_have_more_time() -> None:
    small, large = (np.zeros((1, n, 3), dtype=np.float32) for n in (100, 20_000))
    assert call_seconds((small, small[..., 0])) == pytest.approx(time_limit.CALL_SECONDS, abs=0.1)
    assert call_seconds((large,)) > 400
    assert call_seconds((np.zeros((1, 10**6, 1), dtype=np.float32),)) <= 3600
    assert call_seconds((np.zeros(5, dtype=np.float32),)) == pytest.approx(time_limit.CALL_SECONDS, abs=0.1)


class Endless:
    """An engine that answers from the second call on."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        self.threads.append(threading.current_thread())
        if len(self.threads) == 1:
            spin(self.stop)
        return np.zeros((*inputs[1].shape, 2), dtype=np.float32)


def test_only_the_first_call_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mltrack_plugin.archives.time_limit.CALL_SECONDS", 0.2)
    engine = Endless()
    model = TrackModel(card=make_card(), sha256="", path=Path("model.pt"), device="cpu", engine=engine)
    with pytest.raises(ModelError, match=r"model\.pt: the network on 4 hits took more than"):
        model.predict(features(4))
    engine.stop.set()
    for _ in range(3):
        assert model.predict(features(4)).shape == (4, 2)
    own = threading.current_thread()
    assert [thread is own for thread in engine.threads] == [False, False, True, True]


@pytest.mark.parametrize("output", [None, (np.zeros(1),), np.zeros((1, 4, 2)), np.array([["a"]])])
def test_what_is_no_output(output: object) -> None:
    model = TrackModel(make_card(), "", Path("model.pt"), "cpu", engine=lambda *inputs: output)  # type: ignore[arg-type,return-value]
    with pytest.raises(ModelError, match=r"model\.pt: the network returned .* float32 is expected"):
        model.predict(features(4))


@pytest.mark.parametrize(
    "error", [IndexError("no index"), TypeError("no type"), MemoryError(), RuntimeError("a\nlast")]
)
def test_whatever_a_framework_raises(error: Exception) -> None:
    def engine(*inputs: np.ndarray) -> np.ndarray:
        raise error

    model = TrackModel(make_card(), "", Path("model.pt"), "cpu", engine=engine)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"model\.pt: the network failed on 4 hits: (no|Mem|last)"):
            model.predict(features(4))
