"""Pretraining, packing and fine-tuning."""
