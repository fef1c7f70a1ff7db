"""Published checkpoints of EncReg (TrackFormers, Caron et al.) as networks of this package.

A checkpoint is a ``torch.save`` file whose ``model_state_dict`` holds Linear, ``nn.TransformerEncoder`` and Linear. It
stores neither the number of heads nor the constants with which the TrackML inputs were normalised, so these are asked
for where they cannot be known.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.checkpoint import read_checkpoint
from mltrack_plugin.archives.fitting import network_with_weights
from mltrack_plugin.errors import ConfigurationError, ModelError, did_you_mean
from mltrack_plugin.version import __version__

if TYPE_CHECKING:
    from torch import nn


@dataclasses.dataclass(frozen=True)
class Published:
    """What the file does not say about a published model."""

    #: ``inputs`` of :class:`~mltrack_plugin.models.encreg.EncRegConfig`.
    inputs: str
    #: Output name -> unit, in the order of the network's outputs.
    outputs: dict[str, str]
    #: Detectors of the training events.
    detectors: tuple[str, ...]
    #: Unit of length of the hits.
    length_unit: str
    #: Ranges of the hits in the training events.
    validity: dict[str, tuple[float, float]]
    #: Distance of outputs that counts as 1 in clustering. Training told the network none: so small a one that the
    #: ``epsilon`` of shipped jobs, which is tuned to learned distances, joins no tracks.
    output_scale: float
    #: Whether the inputs were normalised with constants that the file does not hold.
    normalised: bool = False


_REDVID = {"r": (0.0, 8.0), "z": (-12.0, 12.0), "n_hits": (1.0, 2000.0)}
#: Training data of a published model -> its facts. In REDVID's helices pt, pz and q are the radial, pitch and azimuthal
#: coefficients.
KINDS = {
    "redvid-linear": Published(
        "cylindrical", {"theta": "rad", "sin_phi": "1", "cos_phi": "1"}, ("redvid",), "redvid", _REDVID, 0.02
    ),
    "redvid-helical": Published(
        "cylindrical", {"pt": "1", "pz": "1", "q": "1"}, ("redvid",), "redvid", _REDVID, 0.2
    ),
    "trackml": Published(
        "raw",
        {"theta": "1", "sin_phi": "1", "cos_phi": "1", "q": "1"},
        ("trackml", "generic"),
        "mm",
        {"r": (0.0, 1100.0), "z": (-3100.0, 3100.0), "n_hits": (1.0, 2000.0)},
        0.2,
        normalised=True,
    ),
}
#: Width -> published number of heads.
HEADS = {32: 4, 64: 8}
_BLOCK = re.compile(r"blocks\.(\d{1,6})\.")
_RENAMED = (
    ("input_layer.", "embedding.linear."),
    ("encoder.layers.", "blocks."),
    ("self_attn.in_proj_", "qkv."),
    ("self_attn.out_proj.", "out."),
    ("linear1.", "up."),
    ("linear2.", "down."),
    ("decoder.", "head."),
)


def load_trackformers(
    path: str | Path,
    kind: str,
    *,
    name: str | None = None,
    heads: int | None = None,
    input_mean: tuple[float, float, float] | None = None,
    input_scale: tuple[float, float, float] | None = None,
) -> tuple[nn.Module, ModelCard]:
    """Network and card of a published checkpoint; only tensors and plain values are unpickled.

    Args:
        path: the checkpoint.
        kind: key of ``KINDS``: what the model was trained on.
        name: name of the model; default: that of the file.
        heads: attention heads; default: the published number for the width of the network.
        input_mean, input_scale: constants of the inputs x, y, z; the kind "trackml" needs them, in mm.

    Returns:
        the network in evaluation mode, and its card. Outputs of the kind "trackml" stay normalised.

    Raises:
        ModelError: if the file is missing, damaged or no such checkpoint.
        ConfigurationError: if a constant is missing or wrong, or the number of outputs does not fit the kind.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"no kind of published model {kind!r}. {did_you_mean(kind, KINDS)}")
    facts = KINDS[kind]
    path = Path(path)
    state = _state(path)
    d_model, n_features = state["embedding.linear.weight"].shape
    n_outputs = state["head.weight"].shape[0]
    if n_features != 3 or n_outputs != len(facts.outputs):
        raise ConfigurationError(
            f"{path}: the network has {n_features} inputs and {n_outputs} outputs; models of {kind!r} have 3 inputs "
            f"and the outputs {', '.join(facts.outputs)}. Choose another kind: {', '.join(KINDS)}"
        )
    if facts.normalised and (input_mean is None or input_scale is None):
        raise ConfigurationError(
            f"{path}: models of {kind!r} were trained on normalised coordinates, with constants that the file does "
            "not hold; give the mean and standard deviation of x, y, z (mm) in the training hits as "
            "input_mean and input_scale"
        )
    if not facts.normalised and (input_mean is not None or input_scale is not None):
        raise ConfigurationError(
            f"{path}: models of {kind!r} were trained on coordinates as they are; leave input_mean and input_scale out"
        )
    if input_scale is not None and not min(input_scale) > 0:
        raise ConfigurationError(f"{path}: input_scale must be three positive numbers, got {input_scale}")
    heads = heads or HEADS.get(d_model)
    if heads is None:
        raise ConfigurationError(
            f"{path}: the number of attention heads is not stored, and none is published for width {d_model}; give it"
        )
    settings: dict[str, Any] = {
        "d_model": d_model,
        "n_heads": heads,
        "d_ff": state["blocks.0.up.weight"].shape[0],
        "n_layers": 1 + max(int(found[1]) for key in state if (found := _BLOCK.match(key))),
        "inputs": facts.inputs,
        "input_mean": list(input_mean or (0.0, 0.0, 0.0)),
        "input_scale": list(input_scale or (1.0, 1.0, 1.0)),
        "output_mean": [0.0] * n_outputs,
        "output_scale": [1.0] * n_outputs,
    }
    constants = ("embedding.mean", "embedding.scale", "output_mean", "output_scale")
    network = network_with_weights("encreg", settings, state, str(path), given=constants)
    content = {
        "name": name or path.stem.replace("_", "-"),
        "architecture": "encreg",
        "hyperparameters": settings,
        "features": ["x", "y", "z"],
        "units": {**dict.fromkeys(("x", "y", "z"), facts.length_unit), **facts.outputs},
        "coordinate_system": "cartesian",
        "detectors": list(facts.detectors),
        "outputs": list(facts.outputs),
        "output_scales": [facts.output_scale] * n_outputs,
        "validity": {key: list(limits) for key, limits in facts.validity.items()},
        "training_data": {
            "published": "Caron et al., Efficient ML-Assisted Particle Track Reconstruction Designs"
        },
        "license": "MIT",
        "mltrack_version": __version__,
    }
    return network.eval(), ModelCard.from_mapping(content, str(path))


def _state(path: Path) -> dict[str, Any]:
    """Weights by the names of :class:`~mltrack_plugin.models.encreg.EncReg`."""
    loaded = read_checkpoint(path, "not a checkpoint of TrackFormers")
    found = loaded.get("model_state_dict") if isinstance(loaded, dict) else None
    if not isinstance(found, dict) or not {"input_layer.weight", "decoder.weight"} <= found.keys():
        raise ModelError(
            f"{path}: not a checkpoint of TrackFormers' EncReg: model_state_dict with input_layer, encoder and decoder "
            "is expected"
        )
    state = {}
    for key, value in found.items():
        name = str(key)
        for theirs, mine in _RENAMED:
            name = name.replace(theirs, mine)
        state[name] = value
    if "blocks.0.up.weight" not in state:
        raise ModelError(f"{path}: not a checkpoint of TrackFormers' EncReg: it has no encoder layers")
    for key in ("embedding.linear.weight", "head.weight", "blocks.0.up.weight"):
        if getattr(state[key], "ndim", 0) != 2:
            raise ModelError(f"{path}: not a checkpoint of TrackFormers' EncReg: {key} is no matrix")
    return state
