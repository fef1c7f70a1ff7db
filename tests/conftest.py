"""What all tests rest on."""

import signal

# Shells start background jobs with SIGINT ignored, which the commands under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup does the same with SIGHUP.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
