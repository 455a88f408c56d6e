"""What every command line of this project shares."""
