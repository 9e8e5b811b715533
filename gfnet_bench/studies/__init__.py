"""What a study measures: its cells, planned without data, weights or torch. How one is measured is in `benches`."""
