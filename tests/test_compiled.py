"""Kernels kept on disk: damaged files are replaced, they do not fail a job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
from mltrack_plugin.compiled import kernel

@kernel
def twice(x):
    return 2 * x

if __name__ == "__main__":
    import logging
    logging.basicConfig(format="%(message)s")
    print(twice(21), sum(twice.stats.cache_hits.values()))
"""


def run(script: Path) -> tuple[str, str]:
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("keep", [0, 0.5], ids=["empty", "cut"])
def test_a_damaged_file_of_kernels_is_compiled_again(tmp_path, suffix, keep):
    script = tmp_path / "kernels.py"
    script.write_text(SOURCE, encoding="utf-8")
    assert run(script) == ("42 0", "")
    assert run(script) == ("42 1", "")
    (kept,) = tmp_path.rglob(f"*{suffix}")
    content = kept.read_bytes()
    kept.write_bytes(content[: int(keep * len(content))])
    result, notice = run(script)
    assert result == "42 0"
    assert "compiled again" in notice
    assert run(script) == ("42 1", "")
