"""Checkpoints of ``mltrack train``: read without trusting them, exported to model archives."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mltrack_plugin.archives.archive import SUFFIXES, check_content, load_file, pack, write_atomically
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.fitting import network_with_weights
from mltrack_plugin.archives.pickles import ITEM_SIZES, read_pickle
from mltrack_plugin.archives.safezip import allow_members, read_checked, read_file, write_canonical
from mltrack_plugin.archives.track_model import TrackModel
from mltrack_plugin.errors import ConfigurationError, ModelError, OutputError, first_line
from mltrack_plugin.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from mltrack_plugin.event_data.base import Array

#: Largest difference between archive and checkpoint, in units of the clustering scale of each output.
TOLERANCE = 1e-3
_NETWORK = "network."
_KEPT = re.compile(r"data\.pkl|data/\d+|version|byteorder|\.format_version")
_DROPPED = re.compile(r"\.data/(serialization_id|version)|\.storage_alignment")
#: Classes and functions ("module name") that tensors and plain values need.
_ALLOWED = {
    *ITEM_SIZES,
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "collections OrderedDict"),
    *("collections Counter", "collections defaultdict", "torch Size", "torch device", "_codecs encode"),
    *(f"torch {name}" for name in ("float16", "float32", "float64", "bfloat16", "int32", "int64", "bool")),
}
_CHECK_LENGTHS = (1, 2, 37, 311)


def read_checkpoint(path: Path, other: str = "not a checkpoint of mltrack train") -> Any:
    """What ``torch.save`` wrote, tensors and plain values only (``torch.load(weights_only=True)``).

    Torch gets an archive that is made anew of checked members; every tensor lies in a member of its own length.

    Args:
        path: the file.
        other: what to say of another kind of archive.

    Raises:
        ModelError: if the file is missing, damaged, or holds anything else.
    """
    import torch

    archive = read_checked(read_file(path), str(path))
    # torch.load hands TorchScript archives to torch.jit.load, whatever weights_only says.
    if "data.pkl" not in archive.members or "constants.pkl" in archive.members:
        raise ModelError(f"{path}: {other}")
    allow_members(archive, (_KEPT, _DROPPED), str(path), "checkpoint")
    try:
        read_pickle(archive.members["data.pkl"], archive.members, "data", _ALLOWED.__contains__, "data.pkl")
        content = write_canonical("archive", {k: v for k, v in archive.members.items() if _KEPT.fullmatch(k)})
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path}: holds more than tensors and plain values, or is damaged, so it is not opened "
            f"({first_line(error)})"
        ) from None


def load_checkpoint(path: str | Path) -> tuple[nn.Module, ModelCard]:
    """Network and card of a Lightning checkpoint written by ``mltrack train``.

    Only tensors and plain values are unpickled (``torch.load(weights_only=True)``).

    Returns:
        the network in evaluation mode on the CPU, and its card.

    Raises:
        ModelError: if the file is missing, damaged, or no such checkpoint.
    """
    path = Path(path)
    content = read_checkpoint(path)
    try:
        description = content["mltrack"]
        architecture, settings = description["architecture"], description["architecture_config"]
        card_content = dict(description["card"])
        state = {
            k.removeprefix(_NETWORK): v for k, v in content["state_dict"].items() if k.startswith(_NETWORK)
        }
    except (KeyError, IndexError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(
            f"{path}: a checkpoint, but not one of mltrack train ({error!s} is missing or of another type)"
        ) from None
    card = ModelCard.from_mapping({"mltrack_version": __version__} | card_content, str(path))
    return network_with_weights(architecture, settings, state, str(path)), card


def export_checkpoint(
    checkpoint: str | Path, output: str | Path, *, name: str | None = None, overwrite: bool = False
) -> TrackModel:
    """Write a checkpoint as a model archive, after comparing the archive with the checkpoint's network.

    Args:
        checkpoint: checkpoint of ``mltrack train``.
        output: the archive; its suffix (.pt, .pt2, .onnx) gives the format.
        name: name of the model, instead of the one in the checkpoint.
        overwrite: replace an existing file.

    Returns:
        the model as loaded from the archive.

    Raises:
        ModelError: if the checkpoint cannot be read or exported, or the archive gives other numbers.
        OutputError: if the output exists already or cannot be written.
        ConfigurationError: if the suffix is none of a model archive.
        MissingExtraError: for .onnx without the extra [onnx].
    """
    check_output(output, overwrite)
    network, card = load_checkpoint(checkpoint)
    if name is not None:
        card = ModelCard.from_mapping({**card.model_dump(mode="json"), "name": name}, "--name")
    return export_network(network, card, output)


def check_output(output: str | Path, overwrite: bool) -> None:
    """Refuse a name that no archive can have, or an existing file (``ConfigurationError``, ``OutputError``)."""
    output = Path(output)
    if output.suffix not in SUFFIXES:
        raise ConfigurationError(
            f"{output}: the name must end in {', '.join(SUFFIXES)}, which gives the format"
        )
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; choose another name or give --overwrite")


def export_network(network: nn.Module, card: ModelCard, output: str | Path) -> TrackModel:
    """Write a network in evaluation mode as a model archive, after comparing the two; otherwise as above."""
    output = Path(output)
    content = pack(network, card, output.suffix)
    model = load_file(check_content(output, content))
    check_equal(network, model)
    write_atomically(output, content)
    return model


def check_equal(network: nn.Module, model: TrackModel, seed: int = 1) -> float:
    """Compare an archive with the network it was made from, on random events, alone and in a padded batch.

    Returns:
        the largest difference, in units of the clustering scales.

    Raises:
        ModelError: if it exceeds ``TOLERANCE``, or either gives non-finite numbers.
    """
    if model.card.kind != "hits":
        return _check_equal_tensors(network, model, seed)
    rng = np.random.default_rng(seed)
    events = [random_features(model.card, n, rng) for n in _CHECK_LENGTHS]
    scales = np.asarray(model.card.output_scales)
    padded = np.zeros((len(events), _CHECK_LENGTHS[-1], len(model.card.features)), dtype=np.float32)
    mask = np.zeros(padded.shape[:2], dtype=np.bool_)
    for row, event in enumerate(events):
        padded[row, : len(event)], mask[row, : len(event)] = event, True
    batch = model.engine(padded, mask)
    worst = 0.0
    for row, event in enumerate(events):
        wanted = _eager(network, event)
        for found in (model.predict(event), batch[row, : len(event)]):
            difference = (np.abs(found - wanted) / scales).max()
            if not difference <= TOLERANCE:  # written so that NaN fails
                raise ModelError(
                    f"{model.path}: for {len(event)} hits the exported network differs from the checkpoint "
                    f"by {difference:.2g} clustering scales (allowed: {TOLERANCE:g}); nothing was written"
                )
            worst = max(worst, float(difference))
    return worst


def _check_equal_tensors(network: Any, model: TrackModel, seed: int) -> float:
    """As :func:`check_equal`, on the inputs that the network itself gives as examples."""
    import torch

    inputs = network.example_inputs(seed)
    with torch.inference_mode():
        wanted = network(*inputs).numpy()
    found = model.apply(*(tensor.numpy() for tensor in inputs))
    worst = float(np.abs(found - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
    if not worst <= TOLERANCE:  # written so that NaN fails
        raise ModelError(
            f"{model.path}: the exported network differs from the checkpoint by {worst:.2g} of its largest output "
            f"(allowed: {TOLERANCE:g}); nothing was written"
        )
    return worst


def random_features(card: ModelCard, n: int, rng: np.random.Generator) -> Array:
    """(n, F) float32: features of random hits within the card's validity ranges."""
    from mltrack_plugin.event_data import Hits

    low_r, high_r = card.validity.get("r", (0.0, 1.0))
    low_z, high_z = card.validity.get("z", (-1.0, 1.0))
    r, phi = rng.uniform(low_r, high_r, n), rng.uniform(-np.pi, np.pi, n)
    columns: dict[str, Any] = {"x": r * np.cos(phi), "y": r * np.sin(phi), "z": rng.uniform(low_z, high_z, n)}
    return card.hit_features(Hits(hit_id=np.arange(n), time=np.zeros(n), **columns))


def _eager(network: nn.Module, features: Array) -> Array:
    import torch

    with torch.inference_mode():
        mask = torch.ones((1, len(features)), dtype=torch.bool)
        output: Array = network(torch.from_numpy(features)[None], mask)[0].numpy()
    return output
