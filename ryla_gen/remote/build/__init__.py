"""Hold scripts that run while an image is built: standard library only, since the package is not in the image yet."""
