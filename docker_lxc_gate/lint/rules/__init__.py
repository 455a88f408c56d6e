"""What is looked for: a family of rules a file, and the checks that find each."""
