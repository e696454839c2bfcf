"""A LangGraph ReAct agent with two tools and a checkpointer on disk: run, streamed, and resumed by another process."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.prebuilt import create_react_agent
from pydantic import SecretStr

warnings.simplefilter("ignore")  # `create_react_agent` announces its move; both names are in use


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


def add(first: int, second: int) -> int:
    """The sum of two numbers."""
    return first + second


def start(base_url: str, api_key: str) -> Any:
    with SqliteSaver.from_conn_string(_checkpoints(base_url)) as saver:
        return _ask(base_url, api_key, saver, "What is the weather, and the sum?")


def resume(base_url: str, api_key: str) -> Any:
    """On the same thread: what was said before is read from the checkpoint."""
    with SqliteSaver.from_conn_string(_checkpoints(base_url)) as saver:
        return _ask(base_url, api_key, saver, "And tomorrow?")


def stream(base_url: str, api_key: str) -> Any:
    """Tokens as they come."""
    agent = create_react_agent(_model(base_url, api_key), [weather, add])
    said = agent.stream({"messages": [("user", "What is the weather, and the sum?")]}, stream_mode="messages")
    chunks = [message for message, _ in said if isinstance(message, AIMessageChunk)]
    return {
        "text": "".join(str(chunk.content) for chunk in chunks),
        "text_chunks": sum(1 for chunk in chunks if chunk.content),
        "tools": sum(1 for chunk in chunks for call in chunk.tool_call_chunks if call["name"]),
        "tokens": [sum(_tokens(chunk)[side] for chunk in chunks) for side in (0, 1)],
    }


async def several_at_once(base_url: str, api_key: str) -> Any:
    """Async, with threads of their own in one checkpoint file."""
    async with AsyncSqliteSaver.from_conn_string(_checkpoints(base_url)) as saver:
        agent = create_react_agent(_model(base_url, api_key), [weather, add], checkpointer=saver)
        asked: Any = [{"messages": [("user", f"Weather {number}?")]} for number in range(3)]
        configs: Any = [{"configurable": {"thread_id": str(number)}} for number in range(3)]
        return [state["messages"][-1].content for state in await agent.abatch(asked, configs)]


def _ask(base_url: str, api_key: str, saver: SqliteSaver, question: str) -> Any:
    agent = create_react_agent(_model(base_url, api_key), [weather, add], checkpointer=saver)
    state = agent.invoke({"messages": [("user", question)]}, {"configurable": {"thread_id": "thread"}})
    return {
        "messages": [message.type for message in state["messages"]],
        "answer": state["messages"][-1].content,
        "tokens": [sum(_tokens(message)[side] for message in state["messages"]) for side in (0, 1)],
    }


def _model(base_url: str, api_key: str) -> ChatOpenAI:
    return ChatOpenAI(model="chat", base_url=base_url, api_key=SecretStr(api_key), stream_usage=True)


def _tokens(message: Any) -> tuple[int, int]:
    spent = getattr(message, "usage_metadata", None) or {}
    return spent.get("input_tokens", 0), spent.get("output_tokens", 0)


def _checkpoints(base_url: str) -> str:
    """One file a base URL, so that another process finds it."""
    name = "".join(letter if letter.isalnum() else "-" for letter in base_url)
    return str(Path(tempfile.gettempdir()) / f"checkpoints-{name}.sqlite")
