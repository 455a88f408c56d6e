"""One kind of trouble a module: pure functions from what was read to what is wrong."""
