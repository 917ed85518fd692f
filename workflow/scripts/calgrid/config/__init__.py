"""The configuration: its sections, the checks across them, the grid that it spans, and its reference."""
