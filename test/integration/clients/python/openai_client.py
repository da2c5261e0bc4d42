"""OpenAI's Python client, unmodified."""
import json

import openai
from common import BASE, CITY, HI, MODEL, TOOL, Crowd, held, idle, is_city

client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0)
greedy = {"model": MODEL, "temperature": 0, "max_tokens": 12}

whole = client.chat.completions.create(messages=HI, **greedy)
chunks = list(client.chat.completions.create(messages=HI, stream=True, stream_options={"include_usage": True}, **greedy))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == whole.choices[0].message.content != "", (text, whole)
assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
held("streaming")

question = [{"role": "user", "content": "What is the weather in Paris?"}]
called = client.chat.completions.create(messages=question, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, model=MODEL, temperature=0, max_tokens=60).choices[0]
call = called.message.tool_calls[0]
assert (called.finish_reason, call.function.name) == ("tool_calls", "get_weather")
assert list(json.loads(call.function.arguments)) == ["city"]
back = client.chat.completions.create(messages=[*question, called.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}], tools=[TOOL], **greedy)
assert back.choices[0].message.content
held("tools round trip")

shape = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": CITY}}
document = client.chat.completions.create(messages=[{"role": "user", "content": "The weather in Rome as JSON."}], model=MODEL, temperature=1, seed=3, max_tokens=80, response_format=shape)
assert is_city(json.loads(document.choices[0].message.content))
held("structured output")

for changes, kind, param in [({"model": "none"}, openai.NotFoundError, "model"), ({"temperature": 9}, openai.BadRequestError, "temperature")]:
    try:
        client.chat.completions.create(messages=HI, **{**greedy, **changes})
        raise AssertionError("not refused")
    except kind as error:
        assert error.param == param, error
held("exceptions")

with client.chat.completions.create(messages=HI, model=MODEL, max_tokens=2000, stream=True) as stream:
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
idle()
held("abort")

with Crowd() as crowd:
    try:
        client.chat.completions.create(messages=HI, **greedy)
        raise AssertionError("not refused")
    except openai.RateLimitError as error:
        assert error.code == "queue_full" and int(error.response.headers["retry-after"]) >= 1
        crowd.leave()
    again = client.with_options(max_retries=4).chat.completions.create(messages=HI, **greedy)
    assert again.choices[0].message.content == whole.choices[0].message.content
held("429 and another try")

vectors = client.embeddings.create(model=MODEL, input=["one", "two"])
assert [len(item.embedding) for item in vectors.data] == [576, 576]
response = client.responses.create(model=MODEL, input="Say hi.", temperature=0, max_output_tokens=12)
assert response.output_text == whole.choices[0].message.content
held("embeddings and responses")
