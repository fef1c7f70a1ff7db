"""Model archives: what a file with a network may hold, how it is checked, read and written, and its card."""
