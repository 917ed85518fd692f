"""The report: the whole grid on one page."""
