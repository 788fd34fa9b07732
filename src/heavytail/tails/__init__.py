"""Power-law inference on positive numbers."""
