"""Tracks from seeds, followed through the layers."""
