"""A LangGraph graph of four steps with a checkpointer on disk, unchanged but for its base URL: its process dies after
the third answer and before the checkpoint that would have remembered it; another one goes on with the same thread.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from pydantic import SecretStr

STEPS = 4
DIES_IN = 2
THREAD: Any = {"configurable": {"thread_id": "trip"}}


class Trip(TypedDict):
    said: list[str]


def die(base_url: str, api_key: str) -> Any:
    with SqliteSaver.from_conn_string(_checkpoints(base_url)) as saver:
        return _graph(base_url, api_key, dies=True).compile(checkpointer=saver).invoke({"said": []}, THREAD)


def resume(base_url: str, api_key: str) -> Any:
    with SqliteSaver.from_conn_string(_checkpoints(base_url)) as saver:
        state: Any = _graph(base_url, api_key, dies=False).compile(checkpointer=saver).invoke(None, THREAD)
    Path(_checkpoints(base_url)).unlink()
    return state["said"]


def _graph(base_url: str, api_key: str, *, dies: bool) -> Any:
    model = ChatOpenAI(base_url=base_url, api_key=SecretStr(api_key), model="chat")
    graph: Any = StateGraph(Trip)
    for number in range(STEPS):
        graph.add_node(f"step{number}", _step(model, number, dies=dies and number == DIES_IN))
        graph.add_edge(START if number == 0 else f"step{number - 1}", f"step{number}")
    graph.add_edge(f"step{STEPS - 1}", END)
    return graph


def _step(model: ChatOpenAI, number: int, *, dies: bool) -> Any:
    def step(state: Trip) -> Trip:
        answer = model.invoke([("user", f"What is step {number}, after {len(state['said'])} others?")])
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"said": [*state["said"], str(answer.content)]}

    return step


def _checkpoints(base_url: str) -> str:
    """One a gate, for both processes."""
    return str(Path(tempfile.gettempdir()) / f"graph-{os.getuid()}-{base_url.encode().hex()[-80:]}.db")
