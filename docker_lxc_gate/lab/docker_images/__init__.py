"""The images that the lab and the gate load into a Docker, as docker save would write them."""
