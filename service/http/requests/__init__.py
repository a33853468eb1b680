"""Reads what a client sends: the rules for its head, the body, and the images and options in it.

heads            rules for a head that the parser does not check
forwarded        who sent a request that a trusted proxy passed on
bodies           reads bodies within limits on size, time and memory
content_coding   decodes `Content-Encoding` piece by piece
submission       images, labels and options of a request, from body and query
forms            which of three forms a body has
multipart        multipart bodies
json_forms       JSON bodies with images
json_bodies      parses JSON whose size in objects is bounded
base64_text      images in base64
labels           labels as an index, a name, or nothing
"""
