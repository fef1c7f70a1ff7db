"""Simulation of training and demo events.

datasets.py         the shipped data sets by name: ``make_dataset(name, settings)``
base.py             Dataset: events by index, seed and split
redvid.py           REDVID-like events (redvid_dataset.py: as data sets)
gun.py, hepmc.py    full events from a particle gun, from HepMC3 files (extra [acts])
trackml_like.py     small events of particles picked from full events (extra [acts], or a TrackML directory)
pythia.py           proton-proton collisions
acts_chain.py       Fatras and digitisation on the GenericDetector of ACTS
full_event.py       noise on its modules, full events as collections
bank.py             particle banks and the composition of events
trackml_subset.py   a particle bank from a real TrackML directory
"""
