"""unet: sparse convolutions over an image of the hits classify each hit; hits of the same class are a track."""

from __future__ import annotations

from mltrack_plugin.algorithms.enccla import EncCla


class UNet(EncCla):
    """Applies a U-Net to the hits of an event; the hits of a class are a track candidate.

    Selection, small classes, validity ranges and errors are those of ``enccla``; the cost is linear in the number of
    hits.
    """

    architectures = ("unet",)
