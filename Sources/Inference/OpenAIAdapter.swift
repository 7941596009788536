/// OpenAI's own servers, and what behaves like them in everything: nothing to translate.
extension EngineAdapter {
    package static let openAI = EngineAdapter(
        traits: .openAI, knowsDevelopers: true, counting: .together, alternatives: .asAsked, readsFiles: true)
}
