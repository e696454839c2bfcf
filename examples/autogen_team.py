"""An AutoGen team of two in one run: a client each, so that the gate tells the writer's calls from the critic's."""

import asyncio
import os
import uuid

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient

gate = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
run = os.environ.get("HEADGATE_RUN", uuid.uuid4().hex)
info = ModelInfo(
    vision=False, function_calling=True, json_output=True, structured_output=True, family=ModelFamily.UNKNOWN
)


def member(name: str, task: str) -> AssistantAgent:
    model = OpenAIChatCompletionClient(
        model=os.environ.get("HEADGATE_MODEL", "sim-small"),
        base_url=f"{gate}/agents/{name}/runs/{run}/v1",
        api_key=os.environ.get("HEADGATE_KEY", "any"),
        model_info=info,
    )
    return AssistantAgent(name, model_client=model, system_message=task)


async def main() -> None:
    team = RoundRobinGroupChat(
        [member("writer", "Write one line about gates."), member("critic", "Say what would make it better.")],
        termination_condition=MaxMessageTermination(5),
    )
    async for message in team.run_stream(task="A line for the brochure, please."):
        if isinstance(message, TextMessage):
            print(f"{message.source}: {message.content}")


asyncio.run(main())
