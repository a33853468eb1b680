"""From a graph's raw outputs to answers: norms, verdicts, scores, shattering, comparison. Plain numpy."""
