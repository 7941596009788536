/// vLLM (0.9 and later; Tests/EngineAnswers/vllm).
///
/// - Reasoning stands as `reasoning_content`, as `reasoning`, or under both names at once, with the same text.
/// - The last text of a stream may stand beside `finish_reason`; `stop_reason`, `token_ids` and `prompt_logprobs` are left out.
/// - Its prefix cache is shared by all who call it, but for a `cache_salt`.
/// - Text completions have `echo` and no `suffix`.
/// - `prompt_tokens_details` may be null, and `tool_calls` an empty list.
extension EngineAdapter {
    package static let vLLM = EngineAdapter(
        traits: .vLLM, knowsDevelopers: false, counting: .together, alternatives: .asAsked, readsFiles: false,
        saltsCache: true)
}
