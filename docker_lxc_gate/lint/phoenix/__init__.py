"""phoenix's description of containers, and its schema: their rules, and what validates them."""
