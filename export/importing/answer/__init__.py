"""What a file's scores mean: judged by its graph and by its numbers, and made logits for the engine."""
