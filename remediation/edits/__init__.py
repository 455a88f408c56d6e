"""Text in, text out: how a file's content is read and changed."""
