"""Two collections of tracks of the same events side by side, with or without truth.

- `stream`: events that both collections have (read by :mod:`mltrack_plugin.io.track_collection`).
- `rates`, `residuals`, `timing`: rates, residuals and times with their uncertainties.
- `truth`: the particles of an event and which of them count.
- `overlap`: which tracks of one collection the other has, too.
- `widths`: widths of residuals and pulls from histograms; `growth`: how the time grows with the hits.
- `accumulator`: `Comparison`, which adds all of it up over events.
- `checks`: biases and pulls that are far from what they should be.
- `report`: the rows of the table; `table`: as text; `plots`, `page`: the HTML page (extra ``[plot]``);
  `axes`, `rate_figures`, `fit_figures`: its figures.

Definitions and pitfalls are in docs/comparing.md.
"""
