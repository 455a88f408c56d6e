"""What is wrong with Docker in a container, why, and what to do: read-only."""
