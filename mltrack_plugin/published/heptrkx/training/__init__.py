"""Training tasks of HEP.TrkX's networks."""
