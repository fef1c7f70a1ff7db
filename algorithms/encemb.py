"""encemb: a network embeds the hits so that those of a track lie together."""

from __future__ import annotations

from mltrack_plugin.algorithms.encreg import EncReg


class EncEmb(EncReg):
    """Applies an embedding model to the hits of an event; the embedding is clustered like track parameters.

    Selection, validity ranges and errors are those of ``encreg``; the cost is linear in the number of hits.
    """

    architectures = ("encemb",)

    def initialize(self) -> None:
        """As ``encreg``; small events have an engine of their own on a CPU."""
        super().initialize()
        if (self.config.attention, self.config.precision) == ("sdpa", "float32"):
            from mltrack_plugin.archives.encemb_small import with_small_events

            self._loaded = with_small_events(self.model)
