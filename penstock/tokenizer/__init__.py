"""Generated code of the tokenizer contract."""
