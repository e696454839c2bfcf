"""A batch through the gate: a file of requests goes in, and a file of answers comes out when all are answered."""

import json
import os
import time

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080") + "/agents/nightly/runs/demo/v1",
    api_key=os.environ.get("HEADGATE_KEY", "any"),
)
model = os.environ.get("HEADGATE_MODEL", "sim-small")
words = ("one", "two", "three")
lines = [
    {
        "custom_id": word,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": [{"role": "user", "content": f"Say {word}."}]},
    }
    for word in words
]

content = "\n".join(json.dumps(line) for line in lines).encode()
file = client.files.create(file=("words.jsonl", content), purpose="batch")
batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
while batch.status in ("validating", "in_progress", "finalizing"):
    time.sleep(0.2)
    batch = client.batches.retrieve(batch.id)

print(batch.status, batch.request_counts.completed, "of", batch.request_counts.total)
for line in client.files.content(batch.output_file_id).text.splitlines():
    answer = json.loads(line)
    print(answer["custom_id"], "-", answer["response"]["body"]["choices"][0]["message"]["content"])
