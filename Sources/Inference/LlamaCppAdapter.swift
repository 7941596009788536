/// llama.cpp's server (b7000 and later; recorded in Tests/EngineAnswers/llama_cpp).
///
/// - `n`: each choice runs in a slot of its own, so more choices than slots are refused; usage counts one choice.
/// - `logprobs` alone has 20 alternatives for each token, and none at all with `top_logprobs: 0`.
/// - Token ids outside the vocabulary are ignored without a word, so they are checked here by what it reports of its model.
/// - Images and audio that a model does not read are a 500.
/// - `rerank` gives logits.
/// - Text completions: `echo` and `suffix` are ignored without a word, `max_tokens: 0` gives a token, logprobs have the form of chats, a stream of
///   several prompts begins with `data: null`, and the usage of a whole answer is that of the first prompt's first choice.
/// - There is no `cache_salt`, and a member `timings` in answers, which is left out like all members that are not OpenAI's.
extension EngineAdapter {
    package static let llamaCpp = EngineAdapter(
        traits: .llamaCpp, knowsDevelopers: false, counting: .apart, alternatives: .atLeastOne, readsFiles: false,
        scoresAreLogits: true)
}
