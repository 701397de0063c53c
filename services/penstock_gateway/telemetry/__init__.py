"""What a request leaves behind: spans and counts."""
