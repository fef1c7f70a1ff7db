"""Hundreds of damaged and hostile archives of each kind: a network, or an error that names the file; nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from archive_cases import KINDS, good

CASES = 150
#: In the child: loads each file, applies the network, and prints how it ended. CPU time and memory are limited there.
PROGRAM = """
import json, resource, sys, warnings
from pathlib import Path
import torch
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from archive_cases import case, use
from mltrack_plugin.errors import MltrackError

good, n, seed = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_CPU, (max(240, n), max(240, n)))
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
path = good.with_name("case" + good.suffix)
outcomes = {"loaded": 0, "refused": 0, "wrong": []}
content = good.read_bytes()
for number in range(n):
    name, changed = case(good.suffix, content, number, seed)
    path.write_bytes(changed)
    print(name, file=sys.stderr, flush=True)
    try:
        use(path)
        outcomes["loaded"] += 1
    except MltrackError as error:
        outcomes["refused"] += 1
        if path.name not in str(error):
            outcomes["wrong"].append(f"{name}: the file is not named: {error}")
    except Exception as error:
        outcomes["wrong"].append(f"{name}: {type(error).__name__}: {error}"[:300])
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_archives(packed: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    if kind == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    path = tmp_path / f"good{kind}"
    path.write_bytes(packed[kind] if kind in packed else good(kind))
    support = Path(__file__).parents[1] / "support"
    # A graph of torch.export takes a second to load where it is not refused.
    n = CASES // 3 if kind == ".pt2" else CASES
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(support), str(path), str(n), "1"],
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
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({path.name, f"case{kind}"})
