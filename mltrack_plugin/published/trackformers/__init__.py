"""Tables 1 to 3 of Caron et al. beside ours: published figures, shipped designs, measurement, rows."""
