"""Hits in, tracks out, step by step:  python examples/reconstruction_sequence.py events.root tracks.root

For events of 10 to 50 particles in the GenericDetector, such as examples/data/trackml-10-50.root.
"""

import argparse

from mltrack_plugin import Sequencer, open_events, read_tracks
from mltrack_plugin.algorithms import HDBSCAN, BuildTracks, EncReg, FitKalman, PreprocessHits, TrackQuality
from mltrack_plugin.io import RootTracksWriter


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="events.root", help="file of hits, in any format that is known")
    parser.add_argument("target", metavar="tracks.root", help="where the tracks go")
    parser.add_argument(
        "--model", default="encreg-trackml-10-50", help="shipped model, or path of an archive"
    )
    parser.add_argument("--detector", default="generic", help="its field and the resolution of its hits")
    parser.add_argument("--events", type=int, help="how many; default: all")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()

    sequencer = Sequencer(events=options.events, workers=options.workers, on_error="skip")
    sequencer.add_reader(open_events(options.source))
    sequencer.add_algorithm(PreprocessHits())
    # The network gives each hit the parameters of its track, in which hits of one track lie together ...
    sequencer.add_algorithm(EncReg(model=options.model, detector=options.detector))
    sequencer.add_algorithm(HDBSCAN(min_cluster_size=4, min_samples=1, epsilon=0.5, backend="knn"))
    # ... and the Kalman filter measures the tracks: pT, d0, z0 and so on, with their covariance.
    sequencer.add_algorithm(BuildTracks())
    sequencer.add_algorithm(FitKalman(detector=options.detector))
    sequencer.add_algorithm(TrackQuality(hit_chi2_cut=40.0, chi2_scale=3.0))
    sequencer.add_writer(RootTracksWriter(path=options.target))
    print(sequencer.run())

    for number, tracks in read_tracks(options.target):
        print(f"event {number}: {len(tracks)} tracks, pT up to {max(tracks.pt, default=0):.2f} GeV")


# Worker processes import this script.
if __name__ == "__main__":
    main()
