"""The engine: schedules sequences, runs the model on them step by step, samples their tokens."""
