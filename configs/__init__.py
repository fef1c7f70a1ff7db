"""Job configurations (YAML), one per shipped reconstruction."""
