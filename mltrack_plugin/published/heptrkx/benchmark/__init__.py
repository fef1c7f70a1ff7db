"""Published figures of HEP.TrkX beside those of the shipped models, one module per family of systems."""
