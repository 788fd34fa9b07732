"""The container formats, one module each; every one gives tensors that are described now and read later."""
