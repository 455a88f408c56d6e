"""What texts of other programs say, each read by one reader. Pure: nothing here opens a file."""
