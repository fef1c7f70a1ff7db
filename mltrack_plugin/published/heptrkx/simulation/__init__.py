"""Data sets of HEP.TrkX."""
