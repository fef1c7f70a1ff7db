"""Training configurations (YAML), one per shipped model."""
