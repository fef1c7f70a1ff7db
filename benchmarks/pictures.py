"""Draws the picture of the README anew: an event of the shipped sample with the tracks of the shipped job.

    python benchmarks/pictures.py          # writes docs/images/event.png

A test asks for it again when version, sample, job or the drawing has changed. The commands that draw the other
pictures of docs/images are in COMMANDS. Needs the extra [plot].
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from mltrack_plugin.version import __version__

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
#: The picture that this script draws, of this event of the sample with the tracks of this job.
EVENT_PICTURE, SAMPLE, JOB, EVENT = "event.png", "examples/data/trackml-10-50.root", "encemb-generic", 19
#: What draws the other pictures.
HEPTRKX = "mltrack benchmark heptrkx --output DIR"
COMMANDS = {
    "calibration.png": "python benchmarks/calibration.py --picture FILE",
    "gnn-edge-weights.png": HEPTRKX,
    "hit-predictor-pulls.png": HEPTRKX,
    "image-occupancy.png": HEPTRKX,
    "image-segmentation.png": HEPTRKX,
    "image-track-pulls.png": HEPTRKX,
    "image-track.png": HEPTRKX,
    "image-tracks.png": HEPTRKX,
    "vertex-cnn.png": HEPTRKX,
}


def made_from() -> dict[str, str]:
    """What the picture of the event depends on: the version, and a checksum of sample, job and drawing."""
    from mltrack_plugin import load_job

    drawing = ROOT / "mltrack_plugin" / "evaluation" / "event_display.py"
    checksum = hashlib.sha256((ROOT / SAMPLE).read_bytes())
    checksum.update(load_job(JOB).model_dump_json(include={"detector", "sequence"}).encode())
    checksum.update(drawing.read_bytes())
    return {"Software": f"mltrack-plugin {__version__}", "Source": checksum.hexdigest()}


def draw_event_picture(target: Path) -> None:
    """Find the tracks of the sample's event and draw them."""
    from PIL import Image, PngImagePlugin

    from mltrack_plugin.cli.display import draw_from_files
    from mltrack_plugin.jobs.run import run

    sample = str(ROOT / SAMPLE)
    with tempfile.TemporaryDirectory() as folder:
        tracks, drawn = Path(folder) / "tracks.root", Path(folder) / "event.png"
        run(sample, output=str(tracks), job=JOB, skip=EVENT, events=1)
        draw_from_files(sample, str(tracks), output=str(drawn))
        notes = PngImagePlugin.PngInfo()
        for key, text in made_from().items():
            notes.add_text(key, text)
        # 256 colours are enough, and a third of the size.
        Image.open(drawn).convert("RGB").quantize(256).save(target, pnginfo=notes, optimize=True)


if __name__ == "__main__":
    draw_event_picture(IMAGES / EVENT_PICTURE)
    print(f"wrote {IMAGES / EVENT_PICTURE}")
    for name, command in COMMANDS.items():
        print(f"{name}: {command}")
