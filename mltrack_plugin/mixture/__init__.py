"""The event as a mixture of tracks."""
