"""From sprites and their sites to a picture and its probability: windows, composition, background, likelihood."""
