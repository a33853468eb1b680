"""Making logits of a file's scores: choosing the tensor, judging what it means, and holding the bundle to it."""
