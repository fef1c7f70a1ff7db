"""Worker processes: the same output for any number, clear errors, no hang."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_sequence import GeneratedEvents, Halves, JsonLines

from mltrack_plugin.errors import ConfigurationError, EventError, MltrackError, ModelError
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.framework.summary import Summary
from mltrack_plugin.framework.workers import WorkPlan


def run(path: Path, workers: int, reader=None, algorithm=None, **options) -> Summary:
    return (
        Sequencer(workers=workers, **{"chunk_size": 4, **options})
        .add_reader(GeneratedEvents(**{"n_events": 30, **(reader or {})}))
        .add_algorithm(Halves(**(algorithm or {})))
        .add_writer(JsonLines(path=str(path), with_hits=True))
        .run()
    )


def no_children_left() -> bool:
    deadline = time.monotonic() + 5
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not multiprocessing.active_children()


def test_output_has_the_same_bytes_for_any_number_of_workers(tmp_path):
    faults = {"reader": {"broken": (3, 17)}, "algorithm": {"fail_at": (108,), "filter_at": (121,)}}
    summaries = [run(tmp_path / f"out{n}", n, on_error="skip", **faults) for n in (1, 2, 3)]
    serial = (tmp_path / "out1").read_bytes()
    assert (tmp_path / "out2").read_bytes() == serial
    assert (tmp_path / "out3").read_bytes() == serial
    one, *others = summaries
    for other in others:
        assert (other.events, other.hits, other.tracks, other.filtered) == (26, one.hits, one.tracks, 1)
        assert other.skipped == one.skipped
        assert [(s.name, s.calls) for s in other.steps] == [(s.name, s.calls) for s in one.steps]
    assert no_children_left()


def test_executors_are_chosen_by_name_and_give_the_same_bytes(tmp_path):
    for name in ("serial", "processes"):
        run(tmp_path / name, 2, executor=name)
    assert (tmp_path / "serial").read_bytes() == (tmp_path / "processes").read_bytes()
    with pytest.raises(ConfigurationError, match=r"no executor 'process'.*'processes'"):
        run(tmp_path / "out", 1, executor="process")
    assert not (tmp_path / "out").exists()


def test_order_holds_when_early_events_take_longest(tmp_path):
    """With more workers than work and single-event ranges, results arrive out of order."""
    run(tmp_path / "out", 3, chunk_size=1, algorithm={"wait_s": 0.002}, events=7)
    numbers = [json.loads(line).get("event") for line in (tmp_path / "out").read_text().splitlines()]
    assert numbers[:-1] == list(range(100, 107))


def test_workers_finalize_and_their_log_is_shown(tmp_path, caplog):
    caplog.set_level(logging.INFO, "mltrack_plugin")
    run(tmp_path / "out", 2)
    assert [record.getMessage() for record in caplog.records].count("halves finalized") == 2


def test_first_failure_stops_the_job(tmp_path):
    with pytest.raises(EventError, match="generated: event 108: Halves: no hit is usable") as error:
        run(tmp_path / "out", 2, algorithm={"fail_at": (108,)})
    assert "Traceback in the worker process" in error.value.__notes__[0]
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.part"))
    assert no_children_left()


def test_killed_worker_is_an_error_and_no_hang(tmp_path):
    with pytest.raises(
        MltrackError, match=r"worker process \d+ died while .*killed by SIGKILL.*fewer --workers"
    ):
        run(tmp_path / "out", 2, algorithm={"kill_at": 115})
    assert not (tmp_path / "out").exists()
    assert no_children_left()


def test_class_that_workers_cannot_import_is_refused(tmp_path):
    class Local(Halves):
        """Known in this function only."""

    sequencer = Sequencer(workers=2).add_reader(GeneratedEvents()).add_algorithm(Local())
    with pytest.raises(ConfigurationError, match=r"cannot be sent to worker processes.*Local"):
        sequencer.add_writer(JsonLines(path=str(tmp_path / "out"))).run()
    assert list(tmp_path.iterdir()) == []
    assert no_children_left()


def test_worker_that_cannot_initialize_reports_why(tmp_path):
    with pytest.raises(ModelError, match="the archive is damaged"):
        run(tmp_path / "out", 2, algorithm={"damaged_model": True})
    assert list(tmp_path.iterdir()) == []
    assert no_children_left()


def test_interrupted_parallel_job_resumes_with_another_number_of_workers(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    run(tmp_path / "whole", 1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", 2, progress=interrupt)
    assert no_children_left()
    summary = run(tmp_path / "out", 2, resume=True)
    assert summary.resumed >= 8
    assert summary.events == 30
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


SCRIPT = """
import sys
from fake_sequence import GeneratedEvents, Halves, JsonLines
from mltrack_plugin.framework.sequencer import Sequencer

if __name__ == "__main__":
    sequencer = Sequencer(workers=2, chunk_size=1)
    sequencer.add_reader(GeneratedEvents(n_events=100000)).add_algorithm(Halves(wait_s=0.01))
    sequencer.add_writer(JsonLines(path=sys.argv[1])).run()
"""


MASKS = """
import sys
from multiprocessing.context import SpawnProcess
from pathlib import Path
from fake_sequence import GeneratedEvents, Halves, JsonLines
from mltrack_plugin.framework.sequencer import Sequencer

start = SpawnProcess.start

def started(self):
    start(self)
    status = Path(f"/proc/{self.pid}/status").read_text()
    print(int(status.split("SigBlk:")[1].split()[0], 16))

if __name__ == "__main__":
    SpawnProcess.start = started
    sequencer = Sequencer(workers=2).add_reader(GeneratedEvents(n_events=8)).add_algorithm(Halves())
    sequencer.add_writer(JsonLines(path=sys.argv[1])).run()
"""


def job_of(folder: Path, text: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a script that writes to ``out``."""
    script = folder / "job.py"
    script.write_text(text)
    command = [sys.executable, str(script), str(folder / "out")]
    return command, {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads masks from Linux's /proc")
def test_a_worker_that_still_starts_does_not_see_an_interrupt(tmp_path):
    command, environment = job_of(tmp_path, MASKS)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    masks = [int(line) for line in done.stdout.split() if line.isdigit()]
    assert len(masks) == 2
    assert all(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_survives_its_parent(tmp_path, number):
    command, environment = job_of(tmp_path, SCRIPT)
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.journal/chunk-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        if number == signal.SIGINT:  # as a terminal does: to the whole group
            os.killpg(process.pid, number)
        else:
            process.kill()
        _, errors = process.communicate(timeout=20)
        # Traceback of the parent alone: the workers keep quiet.
        assert errors.count(b"Traceback") == (1 if number == signal.SIGINT else 0)
        assert bool(list(tmp_path.glob(".out.*.part"))) == (number == signal.SIGKILL)
        deadline = time.monotonic() + 10
        while _group_exists(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _group_exists(process.pid)
    finally:
        if _group_exists(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_work_plan_covers_everything_once():
    plan = WorkPlan(2, 20)
    plan.mark_finished(2, 5)
    plan.mark_finished(9, 12)
    assert list(plan.segments()) == [(2, 5, True), (5, 9, False), (9, 12, True), (12, 20, False)]
    assert plan.unfinished() == [(5, 9), (12, 20)]
    assert plan.finished_events == 6


def test_what_writers_read_must_be_able_to_travel(tmp_path):
    writer = JsonLines(path=str(tmp_path / "out"))
    writer.read_handle(dict, "facts")

    class Facts(Halves):
        def __init__(self, config=None, **settings):
            super().__init__(config, **settings)
            self.write_handle(dict, "facts")

    sequencer = Sequencer(workers=2).add_reader(GeneratedEvents()).add_algorithm(Facts()).add_writer(writer)
    with pytest.raises(ConfigurationError, match="JsonLines reads 'facts' as dict"):
        sequencer.run()
