"""What the algorithms that apply a network share: loading the model they are given, and checking that it fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mltrack_plugin.detectors import Detector
from mltrack_plugin.errors import ModelError
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.settings import Config as BaseConfig

if TYPE_CHECKING:
    from mltrack_plugin.archives.archive import TrackModel


class ModelConfig(BaseConfig):
    """Settings of every algorithm that applies a network."""

    model: str
    """Shipped model (see ``mltrack models``) or path of a model archive."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto = GPU if there is one."""
    detector: str | Detector | None = None
    """Detector of the input, checked against the model's; ``None`` = what the input states, if it does."""


class ModelAlgorithm(Algorithm):
    """Base: holds a model of one kind; output records name its version and checksum."""

    Config: ClassVar[type[BaseConfig]] = ModelConfig
    #: What the model reads (see :class:`~mltrack_plugin.archives.card.ModelCard`).
    kind: ClassVar[str]
    #: Architectures whose outputs the algorithm understands; empty = all of the kind.
    architectures: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._loaded: TrackModel | None = None

    def initialize(self) -> None:
        """Load the model.

        Raises:
            ModelError: if it is missing, damaged, of another kind or architecture, or made for another detector.
        """
        from mltrack_plugin.archives.archive import load_model

        model = load_model(self.config.model, device=self.config.device)
        model.card.check_kind(self.kind, self.name)
        if self.architectures:
            model.card.check_architecture(self.architectures, self.name)
        model.card.check_detector(self.config.detector, "the input")
        self._loaded = model

    @property
    def model(self) -> TrackModel:
        """The loaded model (raises ``ModelError`` before ``initialize``)."""
        if self._loaded is None:
            raise ModelError(f"model {self.config.model!r} is not loaded: call initialize() first")
        return self._loaded

    def describe(self) -> dict[str, str]:
        card = self.model.card
        return {
            "model": card.name,
            "model_version": card.version,
            "model_sha256": self.model.sha256,
            "model_device": self.model.device,
        }
