"""Model folders: what the files around an ONNX file, and its own metadata, say of labels and pictures.

finding         which ONNX file a path means
speaking        asks each of the readers below whose files are there
stated          statements with their sources, and what the ONNX file shows
hugging_face    transformers and optimum
processors      what transformers' image processors do unless told otherwise
timm_config     timm
paddle          PaddlePaddle
custom_vision   Azure Custom Vision
triton          a Triton repository
text_proto      protobuf's text form
label_files     files of labels of any framework
ultralytics     Ultralytics, in the ONNX file's metadata
image_metadata  ONNX's own `Image.*` metadata
"""
