"""A drift chamber: eight cylinders around the beam, no magnetic field, and all that mltrack-plugin must know of it."""
