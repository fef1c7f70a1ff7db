"""Detector images: how hits become pixels, and what is read off a network's image.

raster.py    hits -> images: detector planes, unrolled barrel layers
seeds.py     short straight seeds in the first planes of an image
paths.py     paths of pixels and lines of hits -> which track each pixel or hit belongs to
lines.py     straight lines as track parameters at the perigee
peaks.py     several vertices from one binned distribution
pictures.py  figures of images with what was found in them (extra ``[plot]``)
"""
