"""What answers have in common: their bytes, their forms, their description."""
