"""The kinds of state that a plan can bring about and roll back."""
