"""A LangGraph agent with two tools and a memory. The base URL tells the gate who calls and in which run."""

import os
import uuid

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

gate = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
run = os.environ.get("HEADGATE_RUN", uuid.uuid4().hex)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}."


def add(first: int, second: int) -> int:
    """The sum of two numbers."""
    return first + second


agent = create_agent(
    ChatOpenAI(
        model=os.environ.get("HEADGATE_MODEL", "sim-small"),
        base_url=f"{gate}/agents/researcher/runs/{run}/v1",
        api_key=SecretStr(os.environ.get("HEADGATE_KEY", "any")),
    ),
    tools=[weather, add],
    checkpointer=InMemorySaver(),
)

for question in ("What is the weather in Lisbon, and what is 2 + 2?", "And in Porto?"):
    state = agent.invoke({"messages": [{"role": "user", "content": question}]}, {"configurable": {"thread_id": run}})
    print(state["messages"][-1].content)

print(f"What it cost: headgate runs, or GET /runs/{run} on the admin port")
