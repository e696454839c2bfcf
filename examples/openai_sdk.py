"""The OpenAI SDK through the gate: one base URL, and the rest of the program stays as it was."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080") + "/agents/greeter/v1",
    api_key=os.environ.get("HEADGATE_KEY", "any"),
)
model = os.environ.get("HEADGATE_MODEL", "sim-small")  # `headgate up` always has this one: made up, so nobody bills it

reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Say hello."}])
print(reply.choices[0].message.content)

stream = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "And now in pieces."}], stream=True
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
