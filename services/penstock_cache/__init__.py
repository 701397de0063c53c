"""The cache service: answers that were given before, kept for each tenant apart."""
