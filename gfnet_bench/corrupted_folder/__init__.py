"""A folder of images written again, corrupted: how its files are made, what it says of itself, one image on a sheet."""
