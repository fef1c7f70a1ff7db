"""Hits as graphs.

- `layers`: logical layers of the detector; `construct`: segments between adjacent layers; `seeded`: graphs around
  seeds.
- `samples`: graphs with truth; `metrics`: how good a classification is; `tracks`: track candidates from scored
  segments.
- `picture`: a figure (extra ``[plot]``).
"""
