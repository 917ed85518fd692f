"""The frame that every HTML page shares."""
