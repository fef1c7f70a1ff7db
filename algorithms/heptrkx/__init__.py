"""Algorithms that apply the networks of HEP.TrkX."""
