"""Version of the package; equal to that of pyproject.toml."""

__version__ = "0.1.0"
