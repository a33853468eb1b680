"""A FastAPI server as tutorials write it: a synchronous endpoint, one image per run."""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from bench.serving.classifier import Classifier

app = FastAPI()
classifier = Classifier()


@app.post("/predict")
async def predict(request: Request) -> dict[str, str]:
    data = await request.body()
    tensor = await run_in_threadpool(classifier.decode, data)
    labels = await run_in_threadpool(classifier.predict, tensor[None])
    return {"label": labels[0]}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning")
