"""Made by scripts/generate from protos/penstock/types/v1."""
