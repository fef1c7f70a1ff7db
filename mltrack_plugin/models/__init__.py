"""Networks and model archives.

Where to look: :mod:`~mltrack_plugin.archives.archive` (``load_model``, ``save_*``),
:mod:`~mltrack_plugin.archives.card` (what a model expects and returns), :mod:`~mltrack_plugin.archives.features`
(network inputs from hits), :mod:`~mltrack_plugin.archives.manifest` (shipped models); one architecture a file,
built by :func:`build_network`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mltrack_plugin.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

#: Architecture name -> module, class of its configuration, class of the network.
ARCHITECTURES = {
    "enccla": ("mltrack_plugin.models.enccla", "EncClaConfig", "EncCla"),
    "enccla-local": ("mltrack_plugin.models.enccla_local", "EncClaLocalConfig", "EncClaLocal"),
    "encdec": ("mltrack_plugin.models.encdec", "EncDecConfig", "EncDec"),
    "encemb": ("mltrack_plugin.models.encemb", "EncEmbConfig", "EncEmb"),
    "encreg": ("mltrack_plugin.models.encreg", "EncRegConfig", "EncReg"),
    "gaussian-hit-predictor": (
        "mltrack_plugin.models.gaussian_hit_predictor",
        "GaussianHitPredictorConfig",
        "GaussianHitPredictor",
    ),
    "gnn-hits": ("mltrack_plugin.models.gnn_hit", "GnnHitConfig", "GnnHitClassifier"),
    "gnn-segments": ("mltrack_plugin.models.gnn_segment", "GnnSegmentConfig", "GnnSegmentClassifier"),
    "gru-assignment": ("mltrack_plugin.models.gru_assignment", "GruAssignmentConfig", "GruAssignment"),
    "hit-predictor": ("mltrack_plugin.models.hit_predictor", "HitPredictorConfig", "HitPredictor"),
    "image-segmentation": (
        "mltrack_plugin.models.image_segmentation",
        "ImageSegmentationConfig",
        "ImageSegmentation",
    ),
    "refiner": ("mltrack_plugin.models.refiner", "RefinerConfig", "Refiner"),
    "track-regression-cnn": (
        "mltrack_plugin.models.track_regression_cnn",
        "TrackRegressionCNNConfig",
        "TrackRegressionCNN",
    ),
    "track-sequence-cnn": (
        "mltrack_plugin.models.track_sequence_cnn",
        "TrackSequenceCNNConfig",
        "TrackSequenceCNN",
    ),
    "unet": ("mltrack_plugin.models.unet", "UNetConfig", "UNet"),
    "vertex-cnn": ("mltrack_plugin.models.vertex_cnn", "VertexCNNConfig", "VertexCNN"),
}


def build_network(architecture: str, config: Mapping[str, Any]) -> nn.Module:
    """A network with untrained weights.

    Args:
        architecture: key of ``ARCHITECTURES``.
        config: its settings.

    Raises:
        ConfigurationError: for an unknown architecture or setting (the nearest is named), or a wrong value.
    """
    from mltrack_plugin.settings import validated

    if architecture not in ARCHITECTURES:
        raise ConfigurationError(
            f"no architecture {architecture!r}. {did_you_mean(architecture, ARCHITECTURES)}"
        )
    name, config_class, network_class = ARCHITECTURES[architecture]
    module = importlib.import_module(name)
    settings = validated(getattr(module, config_class), config, f"architecture {architecture!r}")
    try:
        network: nn.Module = getattr(module, network_class)(settings)
    except ValueError as error:
        raise ConfigurationError(f"architecture {architecture!r}: {error}") from error
    return network
