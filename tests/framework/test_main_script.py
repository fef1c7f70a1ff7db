"""Scripts as they are first written: without a guard, without a writer, from standard input."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_sequence import GeneratedEvents, Halves, JsonLines

from mltrack_plugin import Sequencer, TracksCollector

SUPPORT = Path(__file__).parents[1] / "support"
SCRIPT = """
from fake_sequence import GeneratedEvents, Halves
from mltrack_plugin import Sequencer, TracksCollector
print("the script begins")
sequencer = Sequencer(workers={workers}).add_reader(GeneratedEvents(n_events=8)).add_algorithm(Halves())
sequencer.add_writer(TracksCollector())
{start}
"""


def run(text: str, folder: Path, standard_input: bool = False) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(text)
    command = [sys.executable, "-" if standard_input else str(path)]
    environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
    return subprocess.run(
        command,
        input=text if standard_input else "",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_guarded_script_prints_its_summary(tmp_path):
    done = run(SCRIPT.format(workers=2, start='if __name__ == "__main__": print(sequencer.run())'), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 events, 96 hits, 16 tracks" in done.stdout
    assert done.stderr == ""


def test_an_unguarded_script_without_workers_prints_its_summary(tmp_path):
    done = run(SCRIPT.format(workers=1, start="print(sequencer.run())"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 events, 96 hits, 16 tracks" in done.stdout


def test_an_unguarded_script_with_workers_is_told_the_lines_to_write(tmp_path):
    done = run(SCRIPT.format(workers=2, start="print(sequencer.run())"), tmp_path)
    assert done.returncode == 1
    assert f"ConfigurationError: {tmp_path / 'script.py'}: worker processes import this script" in done.stderr
    assert '    if __name__ == "__main__":\n        print(sequencer.run())' in done.stderr
    # One traceback, of the process that the user started.
    assert done.stderr.count("Traceback") == 1
    assert "8 events" not in done.stdout


def test_an_unguarded_script_in_processes_of_another_pool(tmp_path):
    text = SCRIPT.format(workers=1, start="sequencer.run()") + (
        "\nimport multiprocessing\n"
        'if __name__ == "__main__":\n'
        '    process = multiprocessing.get_context("spawn").Process(target=print)\n'
        "    process.start(); process.join(); print('exit code', process.exitcode)\n"
    )
    done = run(text, tmp_path)
    assert "exit code 1" in done.stdout
    assert "because nothing guards it" in done.stderr


def test_a_program_from_standard_input_is_told_to_be_a_file(tmp_path):
    start = 'if __name__ == "__main__": print(sequencer.run())'
    done = run(SCRIPT.format(workers=2, start=start), tmp_path, standard_input=True)
    assert done.returncode == 1
    assert "save it as a script, or use workers=1" in done.stderr


def test_classes_of_a_notebook_are_named(monkeypatch):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    mine = type("Mine", (Halves,), {"__module__": "__main__"})
    sequencer = Sequencer(workers=2).add_reader(GeneratedEvents()).add_algorithm(mine())
    with pytest.raises(Exception, match=r"cannot import Mine, defined in a notebook .*module"):
        sequencer.add_writer(TracksCollector()).run()


def test_tracks_that_nobody_takes_are_named(caplog):
    caplog.set_level(logging.WARNING, "mltrack_plugin")
    sequencer = Sequencer().add_reader(GeneratedEvents(n_events=2)).add_algorithm(Halves(output="mine"))
    assert sequencer.run().tracks == 4
    (record,) = caplog.records
    text = record.getMessage()
    assert "no writer takes what the sequence makes, so 'mine' (Tracks, by Halves) will be computed" in text
    assert "add_writer(TracksCollector())" in text


def test_tracks_that_somebody_takes_are_not(caplog, tmp_path):
    caplog.set_level(logging.WARNING, "mltrack_plugin")
    for writer in (TracksCollector(), JsonLines(path=str(tmp_path / "out"))):
        Sequencer().add_reader(GeneratedEvents(n_events=2)).add_algorithm(Halves()).add_writer(writer).run()
    Sequencer().add_reader(GeneratedEvents(n_events=2)).run()
    assert caplog.records == []
