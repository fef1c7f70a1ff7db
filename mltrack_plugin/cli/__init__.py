"""Command line: thin click commands, one file each, imported only when they run."""
