"""Statistical mechanics of learning."""
