"""Data sets: from any source to one canonical form."""
