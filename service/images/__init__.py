"""From the bytes of an image file to the numbers that a network reads.

A file is measured before anything of it is decoded: a few kilobytes can say what costs a decoder minutes or gigabytes.

preprocess     decode an image for a bundle, and normalise its pixels
pixel_table    all values that normalised pixels can have, for a device that looks them up
files          format and size by the file's header
jpeg           structure of a JPEG
containers     structure of PNG, GIF, WEBP and TIFF files
avif, av1      what an AVIF makes its decoder hold: by the boxes of the file, and by the AV1 streams in them
colours        conversion to RGB of 8 bits
geometry       sizes after the resize, and the part that the crop keeps
resampling     resize, crop and padding, with Pillow's pixels
points         resize without averaging
limits         how large and how fragmented a file may be
errors         why an image is refused

`export` uses these files too.
"""
