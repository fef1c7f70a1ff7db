"""Prints the times of the attention backends, as ratios to sdpa in float32.

    python benchmarks/attention.py [--hits 300 1000 4000] [--device cpu] [--repeats 3]

One encoder of EncReg-FA's layers (7 of width 128, hidden width 256, 4 heads) on one event of so many hits, with random
weights; training is one step forward and backward. CPU time of one thread, the best of some repetitions; on a GPU the
time between two synchronisations. Backends that the machine does not have are left out with the reason.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

# Before torch is imported: spinning threads would be counted as work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from mltrack_plugin.errors import MltrackError
from mltrack_plugin.models.attention import (
    BACKENDS,
    EncoderBlock,
    EncoderConfig,
    Packing,
    check_flash_ready,
    use_backend,
)

#: Precision -> type of mixed precision.
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def measure(function: Callable[[], None], device: str, repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` calls, after one that is not counted."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = float("inf")
    for repeat in range(repeats + 1):
        start = clock()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        if repeat:
            best = min(best, clock() - start)
    return best


def times(blocks: nn.ModuleList, n: int, kind: torch.dtype | None, device: str, repeats: int) -> list[float]:
    """Seconds of (inference, one training step) on an event of n hits."""
    x = torch.randn(n, blocks[0].out.in_features, device=device)  # type: ignore[union-attr]
    packing = Packing.of([n], device)

    def forward() -> Tensor:
        y = x
        with torch.autocast(device, dtype=kind, enabled=kind is not None):
            for block in blocks:
                y = block.packed(y, packing)  # type: ignore[operator]
        return y

    def infer() -> None:
        with torch.inference_mode():
            forward()

    def train() -> None:
        forward().float().square().mean().backward()

    return [measure(infer, device, repeats), measure(train, device, repeats)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hits", type=int, nargs="+", default=[300, 1000, 4000])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = EncoderConfig(d_model=128, n_heads=4, d_ff=256, n_layers=7, norm_first=True)
    blocks = nn.ModuleList([EncoderBlock(config) for _ in range(config.n_layers)]).to(options.device)
    machine = platform.machine() if options.device == "cpu" else torch.cuda.get_device_name()
    print(f"{machine}, torch {torch.__version__}; inference / training step as ratios to sdpa in float32.\n")
    print("| backend | precision | " + " | ".join(f"{n} hits" for n in options.hits) + " |")
    print("|---" * (2 + len(options.hits)) + "|")
    reference: dict[int, list[float]] = {}
    left_out: dict[tuple[str, str], str] = {}
    for backend in BACKENDS:
        for precision, kind in PRECISIONS.items():
            try:
                if backend == "flash":
                    check_flash_ready(options.device, half=kind is not None)
                use_backend(blocks, backend)
            except MltrackError as error:
                left_out[backend, precision] = str(error)
                continue
            cells = []
            for n in options.hits:
                found = times(blocks, n, kind, options.device, options.repeats)
                ratios = [
                    one / other for one, other in zip(found, reference.setdefault(n, found), strict=True)
                ]
                cells.append(" / ".join(f"{ratio:.2f}" for ratio in ratios))
            print(f"| {backend} | {precision} | " + " | ".join(cells) + " |", flush=True)
    seconds = ", ".join(f"{n} hits {one:.3f} / {two:.3f}" for n, (one, two) in reference.items())
    print(f"\nsdpa in float32, seconds: {seconds}")
    for (backend, precision), reason in left_out.items():
        print(f"left out: {backend} in {precision}: {reason}")


if __name__ == "__main__":
    main()
