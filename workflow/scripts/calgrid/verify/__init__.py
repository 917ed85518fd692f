"""The results store against its provenance and the configuration."""
