"""gfnet-bench: how robust, how general and how costly image classifiers are."""

__version__ = "0.3.0"
