"""From scores to numbers: metrics, post-hoc calibration, tests and intervals."""
