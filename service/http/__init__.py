"""HTTP: from the socket to the endpoints, and back.

server            uvicorn with our connection, and a graceful shutdown
listening/        the sockets that it listens on
starting          why the service cannot start, with the setting to change
connection/       a client's connection
routes/           the endpoints
documentation/    the OpenAPI document
open_inference/   the Open Inference Protocol
calls/            a request as a call of an endpoint
keys/             which API keys are valid, and how often each may call
requests/         heads, bodies, and the images and options in them
answers/          answers as bytes, and what endpoints declare of them
"""
