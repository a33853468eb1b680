"""Where the evidence for one label lies in a picture: `/diagnostics/explain`, for whoever can run a model's graphs.

All four methods follow the logit z of one label backwards, with the graph `explanation`.

answer                 the whole answer
asked                  what is asked for: method, layer, label, steps
methods                the table of the methods
evidence               what every method finds
grad_cam               channels of a layer's map, weighted by their gradient
integrated_gradients   gradients along the path from a baseline, times the difference
smooth_grad            the mean gradient of noisy copies
input_x_gradient       the gradient times the input
gradients              gradients of a logit at the pixels, of one input or of many
steps                  how many runs an image gets, by the time there is
maps                   maps at the picture's size, shares, and where a map is largest
overlay                pictures with a map laid over them, as PNG and SVG
sentences              what a map says, in words
"""
