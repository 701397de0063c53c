"""Made by scripts/generate from protos/penstock/tokenizer/v1."""
