"""From a file's scores to logits: choosing the tensor, judging what it means, and holding the bundle to it."""
