"""Ctrl-C and SIGTERM at any moment: the job ends at once, nothing half-written stays, and it can be resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_input import JOB, CommandLine
from model_fixtures import write_checkpoint

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)

#: Where the signal arrives: dotted name of what is being called, and which of its calls it meets.
MOMENTS = {
    "the input is opened": ("mltrack_plugin.io.root_events.RootEventsReader.initialize", 1),
    "the configuration is read": ("mltrack_plugin.jobs.config._validated", 1),
    "the output is opened": ("mltrack_plugin.io.root_writer.RootWriter.initialize", 1),
    "the model is loaded": ("mltrack_plugin.archives.archive.load_model", 1),
    "the journal is opened": ("mltrack_plugin.framework.journal.Journal.open", 1),
    "the first event is read": ("mltrack_plugin.io.reading.deliver", 1),
    "the first event is in the network": ("mltrack_plugin.algorithms.encreg.EncReg.execute", 1),
    "the second event is clustered": ("mltrack_plugin.algorithms.hdbscan.HDBSCAN.execute", 2),
    "a chunk is journaled": ("mltrack_plugin.framework.journal.Journal.store", 2),
    "the second event is written": ("mltrack_plugin.io.root_writer.RootWriter.write", 2),
    "the tables are written": ("mltrack_plugin.io.root_output.RootTable.extend", 1),
    "the metadata are written": ("mltrack_plugin.io.root_output.RootFile.write_meta", 1),
    "the file is completed": ("mltrack_plugin.io.root_output.RootFile.commit", 1),
    "the file goes to the disk": ("os.fsync", 1),
    "the file gets its name": ("mltrack_plugin.atomic.check_target", 2),
}


@pytest.fixture
def arrive(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """``arrive(name, call, number)``: the signal arrives when the call of a function begins."""

    def _arrive(name: str, call: int, number: int) -> None:
        owner, attribute = name.rsplit(".", 1)
        target = _find(owner)
        real, calls = getattr(target, attribute), 0

        def interrupted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), number)
            return real(*arguments, **options)

        monkeypatch.setattr(target, attribute, interrupted)

    return _arrive


def _find(name: str) -> Any:
    """A module, or a class in one."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, attribute = name.rsplit(".", 1)
        return getattr(importlib.import_module(module), attribute)


@pytest.fixture
def chunks_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is journaled and written when it is done."""
    from mltrack_plugin.framework.sequencer import Sequencer

    real = Sequencer.__init__

    def small(self: Any, **options: Any) -> None:
        real(self, **options, chunk_size=1)

    monkeypatch.setattr(Sequencer, "__init__", small)


@each_signal
@pytest.mark.parametrize("moment", MOMENTS)
def test_run(mltrack: CommandLine, good: Path, arrive, chunks_of_one, moment: str, number: int) -> None:
    name, call = MOMENTS[moment]
    arrive(name, call, number)
    outcome = mltrack.run(good)
    mltrack.refused(outcome, SIGNALS[number], "stopped")
    journal = any(mltrack.output.iterdir())
    assert journal == ("--resume" in outcome.err)


@each_signal
def test_stopped_job_resumes_to_the_same_bytes(
    mltrack: CommandLine, good: Path, tmp_path: Path, arrive, chunks_of_one, number: int
) -> None:
    assert mltrack.run(good, output=tmp_path / "whole.root").code == 0
    arrive("mltrack_plugin.algorithms.encreg.EncReg.execute", 3, number)
    mltrack.refused(mltrack.run(good), SIGNALS[number], "stopped")
    outcome = mltrack.run(good, "--resume")
    assert outcome.code == 0, outcome.err
    assert "events from the interrupted job: 2" in outcome.out
    assert mltrack.tracks.read_bytes() == (tmp_path / "whole.root").read_bytes()
    mltrack.nothing_half_written(kept=["tracks.root"])


@each_signal
def test_existing_output_survives(mltrack: CommandLine, good: Path, arrive, number: int) -> None:
    mltrack.tracks.write_text("years of work")
    arrive("os.fsync", 1, number)
    outcome = mltrack.run(good, "--overwrite")
    mltrack.refused(outcome, SIGNALS[number], "stopped", kept=["tracks.root"])
    assert mltrack.tracks.read_text() == "years of work"


OTHERS = {
    "simulate, an event": ("mltrack_plugin.simulation.redvid_dataset.RedvidDataset.event", 2),
    "simulate, the end": ("os.fsync", 1),
    "evaluate, an event": ("mltrack_plugin.evaluation.summary.ScoreAccumulator.add", 2),
    "evaluate, the report": ("os.fsync", 1),
    "export, the network": ("mltrack_plugin.archives.checkpoint.check_equal", 1),
    "export, the file": ("pathlib.Path.replace", 1),
    "display, the picture": ("matplotlib.figure.Figure.savefig", 1),
    "display, the file": ("os.replace", 1),
    "inspect, an event": ("mltrack_plugin.io.reading.deliver", 1),
}


@each_signal
@pytest.mark.parametrize("moment", OTHERS)
def test_other_commands(
    mltrack: CommandLine, good: Path, tmp_path: Path, arrive, moment: str, number: int
) -> None:
    command = moment.split(",")[0]
    tracks = tmp_path / "tracks.root"
    if command == "display":
        assert mltrack.run(good, output=tracks).code == 0
    arguments: tuple[object, ...] = {
        "simulate": ("redvid-10-50-linear", "--events", "3", "--output", mltrack.output / "e.root"),
        "evaluate": (
            "--input",
            good,
            "--config",
            JOB,
            "--model",
            mltrack.model,
            "--json",
            mltrack.output / "s.json",
        ),
        "export": (tmp_path / "best.ckpt", "--output", mltrack.output / "m.pt"),
        "display": ("--input", good, "--tracks", tracks, "--output", mltrack.output / "e.png"),
        "inspect": (good,),
    }[command]
    if command == "export":
        write_checkpoint(tmp_path / "best.ckpt")
    arrive(*OTHERS[moment], number)
    mltrack.refused(mltrack(command, *arguments), SIGNALS[number], "stopped")


@each_signal
def test_train(mltrack: CommandLine, arrive, number: int) -> None:
    pytest.importorskip("lightning")
    network = "{d_model: 16, n_heads: 2, d_ff: 32, n_layers: 1}"
    settings = {
        "steps": 4,
        "validation_every": 2,
        "validation_events": 1,
        "batch_size": 1,
        "network": network,
    }
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    arrive("mltrack_plugin.training.encreg.RegressionTraining.training_step", 4, number)
    folder = mltrack.output / "training"
    outcome = mltrack("train", JOB, "--output", folder, "--device", "cpu", "--threads", 1, *options)
    mltrack.refused(outcome, SIGNALS[number], "stopped", kept=["training"])
    # The checkpoint of the second step is complete, so the training can go on.
    # What was measured until then is written and drawn.
    needed = {"last.ckpt", "best.ckpt", "metrics.csv", "curves.png"}
    assert needed <= {path.name for path in folder.iterdir()} <= needed | {"log"}
    assert "--resume" in outcome.err
    assert mltrack("export", folder / "last.ckpt", "--output", mltrack.output / "model.pt").code == 0


@pytest.mark.parametrize("delay_s", [0.1, 0.4, 0.8])
def test_process_that_is_still_starting(mltrack: CommandLine, good: Path, delay_s: float) -> None:
    command = [sys.executable, "-m", "mltrack_plugin", "run", *mltrack.run_arguments(good)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(delay_s)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    # Before the program could ask for the signal, the system ends it.
    assert process.returncode in (143, -signal.SIGTERM, 0)
    # Python drops an exception that meets a callback of its import system: then the job goes on to its end.
    assert "Traceback" not in errors or ("Exception ignored in" in errors and process.returncode == 0)
    mltrack.nothing_half_written(kept=["tracks.root"] if process.returncode == 0 else [])


def test_ctrl_c_on_a_terminal_ends_all_workers(mltrack: CommandLine, good: Path, tmp_path: Path) -> None:
    arguments = mltrack.run_arguments(good, "--workers", 2)
    # The later events take forever; that one has begun is told by a file with the number of the process.
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time\n"
        "from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode\n"
        "class Slow(Algorithm):\n"
        "    def execute(self, event_store):\n"
        f"        begun = pathlib.Path({str(tmp_path)!r}, f'begun-{{event_store.event_number}}')\n"
        "        pathlib.Path(f'{begun}.new').write_text(str(os.getpid()))\n"
        "        pathlib.Path(f'{begun}.new').rename(begun)\n"
        "        time.sleep(0 if event_store.event_number == 71 else 600)\n"
        "        return ProcessCode.SUCCESS\n"
    )
    script = (
        "import sys\n"
        "import slow\n"
        "from mltrack_plugin.jobs.config import JobConfig\n"
        "from mltrack_plugin.cli.main import main\n"
        "real = JobConfig.algorithms\n"
        "JobConfig.algorithms = lambda self, **options: [*real(self, **options), slow.Slow()]\n"
        f"if __name__ == '__main__': sys.exit(main(['run', *{arguments!r}]))\n"
    )
    (tmp_path / "job.py").write_text(script)
    # A session of its own is what a terminal's foreground job is: Ctrl-C reaches all its processes.
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "job.py")], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun-72").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors.rstrip().endswith("mltrack: stopped")
    assert "Traceback" not in errors
    mltrack.nothing_half_written()
    for begun in tmp_path.glob("begun-7[123]"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(begun.read_text()), 0)
