"""Models: what is known of their architectures, loading them, their weights, attention, sizes."""
