"""A second version of a model, run on a share of the live images beside the one that answers.

shadowing   draws the images, runs them on idle slots, and never touches an answer
pair        the two versions: which labels they share, and why two cannot be compared
answers     what both answered, counted over all images and over the last ones
layers      the gradients of both on the same images
record      all that is known of one pair
telling     the record as the answer of the endpoint
collector   the record as metrics
"""
