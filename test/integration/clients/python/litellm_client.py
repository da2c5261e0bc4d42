"""LiteLLM, unmodified, by its provider for OpenAI-compatible servers."""
import json

import litellm
from common import BASE, CITY, HI, MODEL, TOOL, Crowd, held, idle, is_city

common = {"model": f"openai/{MODEL}", "api_base": BASE, "api_key": "none", "num_retries": 0, "max_retries": 0}
greedy = {**common, "temperature": 0, "max_tokens": 12}

whole = litellm.completion(messages=HI, **greedy)
text = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=HI, stream=True, **greedy))
assert text == whole.choices[0].message.content != "", (text, whole)
held("streaming")

question = [{"role": "user", "content": "What is the weather in Paris?"}]
called = litellm.completion(messages=question, tools=[TOOL], tool_choice="required", **{**greedy, "max_tokens": 60}).choices[0].message
call = called.tool_calls[0]
assert call.function.name == "get_weather" and list(json.loads(call.function.arguments)) == ["city"]
back = litellm.completion(messages=[*question, called.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}], tools=[TOOL], **greedy)
assert back.choices[0].message.content
held("tools round trip")

shape = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": CITY}}
document = litellm.completion(messages=[{"role": "user", "content": "The weather in Rome as JSON."}], response_format=shape, **{**common, "temperature": 1, "seed": 3, "max_tokens": 80})
assert is_city(json.loads(document.choices[0].message.content))
held("structured output")

for changes, kind in [({"model": "openai/none"}, litellm.NotFoundError), ({"temperature": 9}, litellm.BadRequestError)]:
    try:
        litellm.completion(messages=HI, **{**greedy, **changes})
        raise AssertionError("not refused")
    except kind:
        pass
held("exceptions")

stream = litellm.completion(messages=HI, stream=True, **{**common, "max_tokens": 2000})
for chunk in stream:
    if chunk.choices[0].delta.content:
        break
stream.completion_stream.close()
idle()
held("abort")

with Crowd() as crowd:
    try:
        litellm.completion(messages=HI, **greedy)
        raise AssertionError("not refused")
    except litellm.RateLimitError:
        crowd.leave()
    again = litellm.completion(messages=HI, **{**greedy, "num_retries": 4})
    assert again.choices[0].message.content == whole.choices[0].message.content
held("429 and another try")

vectors = litellm.embedding(model=f"openai/{MODEL}", api_base=BASE, api_key="none", input=["one", "two"])
assert [len(item["embedding"]) for item in vectors.data] == [576, 576]
held("embeddings")
