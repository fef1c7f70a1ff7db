"""What all figures share: a matplotlib figure without any window system, saved completely or not at all."""

from __future__ import annotations

import contextlib
import os
from io import BytesIO
from pathlib import Path
from typing import Any

from mltrack_plugin.errors import OutputError, require_extra

#: Colours that stay apart for colour-blind readers (Okabe and Ito), the darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(width: float, height: float) -> Any:
    """An empty ``matplotlib.figure.Figure`` of the given size in inches, drawn by the Agg backend.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    figure = require_extra("matplotlib.figure", "plot", "drawing figures")
    agg = require_extra("matplotlib.backends.backend_agg", "plot", "drawing figures")
    made = figure.Figure(figsize=(width, height), layout="constrained")
    agg.FigureCanvasAgg(made)
    return made


def plain_axes(axes: Any) -> None:
    """The common look: no box, a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def save_figure(figure: Any, path: Path | str, dpi: int = 150) -> Path:
    """Save under a temporary name and rename; the format follows the suffix (png if there is none).

    Raises:
        OutputError: if the file cannot be written or the format is unknown to matplotlib.
    """
    target = Path(path)
    kind = target.suffix.lstrip(".").lower() or "png"
    supported = figure.canvas.get_supported_filetypes()
    if kind not in supported:
        raise OutputError(f"cannot draw {str(target)!r}: no picture format {kind!r}; use .png, .pdf or .svg")
    content = BytesIO()
    figure.savefig(content, format=kind, dpi=dpi)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content.getvalue())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"cannot write {str(target)!r}: {error.strerror or error}; write elsewhere"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target
