"""Scripts that run while an image is built: the standard library only, since nothing of ours is in the image yet."""
