"""encemb: a network embeds the hits so that those of a track lie together."""

from __future__ import annotations

from mltrack_plugin.algorithms.encreg import EncRegTracking


class EncEmbTracking(EncRegTracking):
    """Applies an embedding model to the hits of an event; the embedding is clustered like track parameters.

    Selection, validity ranges and errors are those of ``encreg``; the cost is linear in the number of hits.
    """

    architectures = ("encemb",)
