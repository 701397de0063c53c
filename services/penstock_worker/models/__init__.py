"""Checkpoints: reading their configuration and weights, and the decoder that runs them."""
