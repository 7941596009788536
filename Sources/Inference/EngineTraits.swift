/// What a model server does by itself, of what an answer must be (02 §2, §6). What it does not do, the gateway does: it guides the answer by a
/// schema, and checks it.
///
/// Engine adapters state them; an engine that nothing is known of promises only what all of them do.
public struct EngineTraits: Sendable, Equatable {
    /// `tool_choice` with `required` or a function gives a call, always.
    public var obeysToolChoice: Bool
    /// `allowed_tools` is understood; otherwise only the allowed tools are sent on.
    public var knowsAllowedTools: Bool
    /// With tools and a `response_format` the model may still call; otherwise the format would forbid it.
    public var callsDespiteFormat: Bool
    /// `response_format` with `json_schema` guides the model, token by token.
    public var guidesBySchema: Bool
    /// `echo` of text completions: it says the prompt again, and nothing more with `max_tokens` 0. Otherwise the member is ignored.
    public var echoesPrompts: Bool
    /// `suffix` of text completions. Otherwise the member is ignored.
    public var completesBeforeSuffixes: Bool

    public init(
        obeysToolChoice: Bool, knowsAllowedTools: Bool, callsDespiteFormat: Bool, guidesBySchema: Bool, echoesPrompts: Bool,
        completesBeforeSuffixes: Bool
    ) {
        self.obeysToolChoice = obeysToolChoice
        self.knowsAllowedTools = knowsAllowedTools
        self.callsDespiteFormat = callsDespiteFormat
        self.guidesBySchema = guidesBySchema
        self.echoesPrompts = echoesPrompts
        self.completesBeforeSuffixes = completesBeforeSuffixes
    }

    /// OpenAI's own servers.
    public static let openAI = EngineTraits(
        obeysToolChoice: true, knowsAllowedTools: true, callsDespiteFormat: true, guidesBySchema: true, echoesPrompts: true,
        completesBeforeSuffixes: true)
    public static let vLLM = EngineTraits(
        obeysToolChoice: true, knowsAllowedTools: false, callsDespiteFormat: false, guidesBySchema: true, echoesPrompts: true,
        completesBeforeSuffixes: false)
    /// llama.cpp's server: with a chat template that knows no tools it does not even show them to the model.
    public static let llamaCpp = EngineTraits(
        obeysToolChoice: false, knowsAllowedTools: false, callsDespiteFormat: false, guidesBySchema: true, echoesPrompts: false,
        completesBeforeSuffixes: false)
    /// Demands are guided and checked; for `echo` and `suffix`, which nobody can check, it is asked.
    public static let unknown = EngineTraits(
        obeysToolChoice: false, knowsAllowedTools: false, callsDespiteFormat: false, guidesBySchema: true, echoesPrompts: true,
        completesBeforeSuffixes: true)
}
