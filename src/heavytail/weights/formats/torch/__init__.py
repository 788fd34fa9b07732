"""What PyTorch writes: pickles beside storages."""
