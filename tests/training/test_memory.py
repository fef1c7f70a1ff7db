"""Memory that gives out, and events larger than it allows: an error that says what to change, or what was asked for."""

import numpy as np
import pytest

pytest.importorskip("lightning")

from mltrack_plugin.errors import ConfigurationError, EventError, TrainingError
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event
from mltrack_plugin.training import guard
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.encreg import RegressionTraining
from mltrack_plugin.training.run import train
from mltrack_plugin.training.task import bounded


def tiny(**changes):
    return load_training_config("encreg-redvid-10-50-linear", tiny=True, **changes)


def run(config, folder):
    return train(config, folder, device="cpu", threads=1, progress=False)


def test_exhausted_memory_says_what_to_change(tmp_path, monkeypatch):
    def step(self, batch, index):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"
        )

    monkeypatch.setattr(RegressionTraining, "training_step", step)
    with pytest.raises(TrainingError, match=r"memory is exhausted at step 0 .*max_event_hits"):
        run(tiny(), tmp_path)


def test_memory_may_give_out_before_the_first_step(tmp_path, monkeypatch):
    def measure(*arguments):
        raise MemoryError

    monkeypatch.setattr("mltrack_plugin.training.encreg.measure", measure)
    with pytest.raises(
        TrainingError, match=r"exhausted before the first step \(MemoryError\).*max_event_hits"
    ):
        run(tiny(), tmp_path)


def test_other_runtime_errors_stay_what_they_are():
    class Trainer:
        global_step = 3

    with pytest.raises(RuntimeError, match="shapes differ"), guard.memory_errors(Trainer()):
        raise RuntimeError("shapes differ")


def events(index):
    return redvid_event(RedvidConfig(tracks=(2, 2) if index % 3 else (40, 40)), [5, index])


def test_events_too_large_for_memory_are_an_error_or_left_out():
    strict = bounded(events, 100, "data set x", leave_out=False)
    assert len(strict(1).hits) <= 100
    with pytest.raises(EventError, match=r"data set x: event 3 has \d+ hits, more than max_event_hits = 100"):
        strict(3)
    lenient = bounded(events, 100, "data set x", leave_out=True)
    np.testing.assert_array_equal(lenient(3).hits.x, events(4).hits.x)
    with pytest.raises(EventError, match="and none of up to 99 others has less"):
        bounded(events, 1, "data set x", leave_out=True)(0)


def test_own_events_come_to_an_end_before_a_smaller_one_does():
    def four(index):
        if index > 3:
            raise ConfigurationError("there is no event")
        return events(index)

    lenient = bounded(four, 100, "data set x", leave_out=True)
    np.testing.assert_array_equal(lenient(3).hits.x, events(2).hits.x)
    with pytest.raises(EventError, match=r"event 2 has \d+ hits"):
        bounded(four, 1, "data set x", leave_out=True)(2)
    with pytest.raises(ConfigurationError, match="there is no event"):
        lenient(4)


def test_limit_of_event_size_reaches_the_training(tmp_path):
    with pytest.raises(EventError, match="max_event_hits = 10"):
        run(tiny(max_event_hits=10), tmp_path)
