"""One kind of problem a module: pure functions from what was read to what is wrong."""
