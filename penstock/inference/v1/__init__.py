"""Made by scripts/generate from protos/penstock/inference/v1."""
