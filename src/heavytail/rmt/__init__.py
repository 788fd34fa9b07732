"""Random matrix theory: the laws of noise, its edges, spikes and heavy-tailed classes."""
