"""Made by scripts/generate from protos/penstock/cache/v1."""
