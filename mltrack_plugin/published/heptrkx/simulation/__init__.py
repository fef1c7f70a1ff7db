"""Data sets of HEP.TrkX.

- `datasets`: as they are registered; `heptrkx`: QCD events in the barrel; `heptrkx_vertex`: with pile-up, for
  vertices.
- `barrel_tracks`: prompt tracks in the barrel; `toy_planes`: straight tracks in a stack of planes; `rasterised`:
  events as images.
"""
