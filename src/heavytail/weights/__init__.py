"""Where the weights come from: a source, its container format, and its tensors laid out as matrices."""
