"""Hits in, tracks out:  python examples/reconstruction_sequence.py events.root tracks.root [model]"""

import sys

from mltrack_plugin import Sequencer, open_events
from mltrack_plugin.algorithms.build_tracks import BuildTracks
from mltrack_plugin.algorithms.encreg import EncReg
from mltrack_plugin.algorithms.hdbscan import HDBSCAN
from mltrack_plugin.algorithms.track_quality import TrackQuality
from mltrack_plugin.io.root_tracks import RootTracksWriter

source, target, model = (*sys.argv[1:], "encreg-redvid-10-50-linear")[:3]

sequencer = Sequencer(on_error="skip", log=print)
sequencer.add_reader(open_events(source))
sequencer.add_algorithm(EncReg(model=model))
sequencer.add_algorithm(HDBSCAN(min_cluster_size=4, min_samples=2))
sequencer.add_algorithm(BuildTracks())
sequencer.add_algorithm(TrackQuality(candidates="candidate_tracks"))
sequencer.add_writer(RootTracksWriter(path=target))
summary = sequencer.run()

print(f"{summary.events} events, {summary.hits} hits, {summary.tracks} tracks in {summary.wall_s:.1f} s")
