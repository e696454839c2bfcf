"""What the semantic cache decides: which questions may be compared, with which, and whether an old answer may serve."""
