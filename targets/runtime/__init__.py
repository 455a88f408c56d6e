"""What manages containers on a node, and the configuration that it keeps of them."""
