"""Detector images: how hits become pixels, and what is read off a network's image.

raster.py    hits -> images: detector planes, unrolled barrel layers
seeds.py     short straight seeds in the first planes of an image
paths.py     paths of pixels that a network found -> track candidates
peaks.py     several vertices from one binned distribution
pictures.py  figures of images with what was found in them (extra ``[plot]``)
"""
