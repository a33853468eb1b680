"""Diagnoses of a bundle without a server: the commands `check` and `diagnose`.

model             a bundle's graphs, run in this process, and the images of a folder
check             the command `check`: a gate for pipelines
against/          a new version checked against an old one: `check NEW --against OLD`
examination       one model looked at, on images of a folder or on pictures made for it
made_pictures     those pictures
flags             flags that both commands take
asking            a running service, asked over HTTP
reports           the files that a check writes
outcome           what is found of a model
formats/          it as text, JSON, JUnit, SARIF and Markdown
diagnose          the command `diagnose`
measuring         every image of a folder measured, row by row
table             its CSV file
living_channels   which channels were ever alive, in a column of the table
report/           its HTML report
"""
