"""Where results lie, and how they are written, sealed, found and read."""
