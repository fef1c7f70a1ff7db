"""``python -m mltrack_plugin``: the command line."""

import sys

from mltrack_plugin.cli.main import main

sys.exit(main())
