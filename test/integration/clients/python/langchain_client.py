"""langchain-openai, unmodified."""
import openai
from common import BASE, CITY, MODEL, TOOL, Crowd, held, idle, is_city
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

common = {"model": MODEL, "base_url": BASE, "api_key": "none", "max_retries": 0}
chat = ChatOpenAI(temperature=0, max_tokens=12, **common)

whole = chat.invoke("Say hi.")
text = "".join(chunk.text for chunk in chat.stream("Say hi."))
assert text == whole.text != "", (text, whole)
held("streaming")

question = HumanMessage("What is the weather in Paris?")
called = ChatOpenAI(temperature=0, max_tokens=60, **common).bind_tools([TOOL], tool_choice="required", parallel_tool_calls=False).invoke([question])
call = called.tool_calls[0]
assert call["name"] == "get_weather" and list(call["args"]) == ["city"], called
back = chat.bind_tools([TOOL]).invoke([question, called, ToolMessage("sunny", tool_call_id=call["id"])])
assert back.text
held("tools round trip")

city = ChatOpenAI(temperature=1, seed=3, max_tokens=80, **common).with_structured_output({"title": "weather", **CITY}, method="json_schema", strict=True)
assert is_city(city.invoke("The weather in Rome as JSON."))
held("structured output")

for changes, kind in [({"model": "none"}, openai.NotFoundError), ({"temperature": 9}, openai.BadRequestError)]:
    try:
        ChatOpenAI(**{**common, "max_tokens": 4, **changes}).invoke("Say hi.")
        raise AssertionError("not refused")
    except kind:
        pass
held("exceptions")

stream = ChatOpenAI(max_tokens=2000, **common).stream("Say hi.")
for chunk in stream:
    if chunk.text:
        break
stream.close()
idle()
held("abort")

with Crowd() as crowd:
    try:
        chat.invoke("Say hi.")
        raise AssertionError("not refused")
    except openai.RateLimitError:
        crowd.leave()
    assert ChatOpenAI(temperature=0, max_tokens=12, **{**common, "max_retries": 4}).invoke("Say hi.").text == whole.text
held("429 and another try")

# Other servers than OpenAI's get their texts as texts.
vectors = OpenAIEmbeddings(model=MODEL, base_url=BASE, api_key="none", check_embedding_ctx_length=False).embed_documents(["one", "two"])
assert [len(vector) for vector in vectors] == [576, 576]
held("embeddings")
