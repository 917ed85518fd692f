"""Every table, as CSV, LaTeX and HTML."""
