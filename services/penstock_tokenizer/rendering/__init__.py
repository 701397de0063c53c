"""Rendering of chat templates in processes of their own, bounded in time, memory and output."""
