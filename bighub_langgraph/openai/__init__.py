"""`BighubOpenAI` and `AsyncBighubOpenAI`: OpenAI agents whose tool calls BIGHUB decides on."""
