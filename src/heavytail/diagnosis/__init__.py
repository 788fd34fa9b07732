"""From a spectrum to the numbers of its row."""
