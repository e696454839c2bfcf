"""An AutoGen chat of two agents, in round robin, whole and streamed, and one agent that calls a tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, ModelClientStreamingChunkEvent, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient

MESSAGES_MAX = 5  # the task and two turns of each


async def chat(base_url: str, api_key: str) -> Any:
    models = [_model(base_url, api_key) for _ in range(2)]
    result = await _team(models, False).run(task="A line for the brochure, please.")
    return await _told(models, result.messages)


async def chat_stream(base_url: str, api_key: str) -> Any:
    models = [_model(base_url, api_key) for _ in range(2)]
    messages: list[BaseAgentEvent | BaseChatMessage] = []
    pieces = 0
    async for message in _team(models, True).run_stream(task="A line for the brochure, please."):
        if isinstance(message, ModelClientStreamingChunkEvent):
            pieces += 1
        elif isinstance(message, BaseChatMessage):
            messages.append(message)
    return {**await _told(models, messages), "pieces": pieces}


async def tool(base_url: str, api_key: str) -> Any:
    async def weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}"

    models = [_model(base_url, api_key)]
    agent = AssistantAgent("helper", model_client=models[0], tools=[weather], reflect_on_tool_use=True)
    result = await agent.run(task="What is the weather?")
    return {**await _told(models, result.messages), "kinds": [type(message).__name__ for message in result.messages]}


def _team(models: list[OpenAIChatCompletionClient], stream: bool) -> RoundRobinGroupChat:
    members: list[Any] = [
        AssistantAgent(name, model_client=model, system_message=f"You are the {name}.", model_client_stream=stream)
        for name, model in zip(("writer", "critic"), models, strict=True)
    ]
    return RoundRobinGroupChat(members, termination_condition=MaxMessageTermination(MESSAGES_MAX))


def _model(base_url: str, api_key: str) -> OpenAIChatCompletionClient:
    info = ModelInfo(
        vision=False, function_calling=True, json_output=True, structured_output=True, family=ModelFamily.UNKNOWN
    )
    return OpenAIChatCompletionClient(
        model="chat", base_url=base_url, api_key=api_key, model_info=info, include_name_in_message=True
    )


async def _told(
    models: list[OpenAIChatCompletionClient], messages: Sequence[BaseAgentEvent | BaseChatMessage]
) -> dict[str, Any]:
    spent = [message.models_usage for message in messages if message.models_usage]
    for model in models:
        await model.close()
    return {
        "said": [(message.source, message.content) for message in messages if isinstance(message, TextMessage)],
        "tokens": [sum(one.prompt_tokens for one in spent), sum(one.completion_tokens for one in spent)],
    }
