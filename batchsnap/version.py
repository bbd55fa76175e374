"""The version, where every floor may read it."""

__version__ = "0.1.0"
TOOL = f"batchsnap/{__version__}"
"""As ledgers and calls name it."""
