"""The framework: algorithms, event store, event loop, workers, journal and outputs' provenance."""
