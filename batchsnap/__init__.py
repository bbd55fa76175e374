"""batchsnap: one snapshot for every disk of a fleet."""

__version__ = "0.1.0"
