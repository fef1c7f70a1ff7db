"""Shipped model archives and their manifest; see :mod:`mltrack_plugin.archives.manifest`."""
