"""Diagnoses of a bundle without a server: the commands `check` and `diagnose`.

model           a bundle's graphs, run in this process, and the images of a folder
check           the command `check`: a gate for pipelines
examination     one model looked at, on images of a folder or on pictures made for it
made_pictures   those pictures
outcome         what is found of a model
formats/        it as text, JSON, JUnit, SARIF and Markdown
diagnose        the command `diagnose`
table           its CSV file
report          its HTML report
"""
