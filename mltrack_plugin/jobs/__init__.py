"""Jobs: which algorithms run with which settings on an input, from a job file to tracks.

- `config`: job files; `variants`: one file for jobs that differ in a few settings.
- `choice`: the shipped job that fits an input.
- `run`: a whole job in one call, as ``mltrack run`` does it; `result`: what it gave.
- `find_tracks`: tracks of the hits of one event, without files; `chains`: a chain of algorithms on one event.
"""
