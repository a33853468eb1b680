"""What a lone run gains by every core."""
