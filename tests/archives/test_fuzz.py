"""Hundreds of damaged and hostile archives of each kind: a network, or an error that names the file; nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from model_fixtures import write_checkpoint

CASES = 150
#: In the child: loads each file, applies the network, and prints how it ended. CPU time and memory are limited there.
PROGRAM = """
import json, resource, sys, warnings
from pathlib import Path
import numpy as np, torch
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from archive_cases import cases
from mltrack_plugin.archives import time_limit, track_model
from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.checkpoint import load_checkpoint
from mltrack_plugin.errors import MltrackError

good, kind, n = Path(sys.argv[2]), Path(sys.argv[2]).suffix, int(sys.argv[3])
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_CPU, (240, 240))
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
path = good.with_name("case" + kind)
outcomes = {"loaded": 0, "refused": 0, "wrong": []}
for name, content in cases(kind, good.read_bytes(), n, seed=1):
    path.write_bytes(content)
    print(name, file=sys.stderr, flush=True)
    try:
        if kind == ".ckpt":
            load_checkpoint(path)
        else:
            load_model(path).predict(np.ones((7, 3), np.float32))
        outcomes["loaded"] += 1
    except MltrackError as error:
        outcomes["refused"] += 1
        if path.name not in str(error) and "tiny-encreg" not in str(error):
            outcomes["wrong"].append(f"{name}: the file is not named: {error}")
    except Exception as error:
        outcomes["wrong"].append(f"{name}: {type(error).__name__}: {error}"[:300])
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("kind", [".pt", ".pt2", ".onnx", ".ckpt"])
def test_mutated_archives(packed: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    good = tmp_path / f"good{kind}"
    if kind == ".ckpt":
        write_checkpoint(good)
    elif kind not in packed:
        pytest.skip("needs the extra [onnx]")
    else:
        good.write_bytes(packed[kind])
    support = Path(__file__).parents[1] / "support"
    # A graph of torch.export takes a second to load where it is not refused.
    n = CASES // 3 if kind == ".pt2" else CASES
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(support), str(good), str(n)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    last = run.stderr.splitlines()[-1:]
    assert run.returncode == 0, f"the process ended with {run.returncode} at {last}"
    outcomes = json.loads(run.stdout.splitlines()[-1])
    assert outcomes["wrong"] == []
    assert outcomes["loaded"] + outcomes["refused"] == n
    assert outcomes["refused"] > n / 4
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({good.name, f"case{kind}"})
