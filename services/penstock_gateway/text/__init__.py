"""Text in and out: the tokenizer's client, its vocabulary, and what turns ids back into text."""
