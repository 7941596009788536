import Catalog
import JSON
import OpenAI
import Server

/// A chat that is read, checked and fits its endpoint.
struct PreparedChat {
    let endpoint: EndpointRecord
    let chat: ChatRequest
    let body: UpstreamBody
    /// To be fetched when it is sent.
    var images: [RemoteImage] = []
}

extension ChatRoutes {
    private enum Reading {
        case ready(PreparedChat)
        case toTranslate(EndpointRecord, ChatTranslation, [UInt8], ChatRequest)
    }

    /// Few requests need to be rewritten; they are read again as what they become.
    func prepare(_ request: Request, _ context: Context) throws -> PreparedChat {
        let reading = try RequestDocument.read(request.body, context.services.parser) { root -> Reading in
            let endpoint = try acceptance.endpoint(root, request, context, serving: .generate)
            let chat = try read(root, endpoint, isTranslated: false)
            guard let translation = ChatTranslation(for: chat, requestID: context.requestID) else {
                return .ready(PreparedChat(endpoint: endpoint, chat: chat, body: try body(of: root, chat, endpoint, request)))
            }
            return .toTranslate(endpoint, translation, translation.rewritten(root), chat)
        }
        // Not inside of the first: only a few large texts are parsed at a time, and each would wait for another.
        switch reading {
        case .ready(let prepared): return prepared
        case .toTranslate(let endpoint, let translation, let text, let original):
            do {
                return try RequestDocument.read(text, context.services.parser) { root in
                    var chat = try read(root, endpoint, isTranslated: true)
                    chat.answersWithFunctionCall = original.answersWithFunctionCall
                    return PreparedChat(
                        endpoint: endpoint, chat: chat, body: try body(of: root, chat, endpoint, request),
                        images: original.parts.remoteImages)
                }
            } catch {
                throw translation.inOldWords(error)
            }
        }
    }

    private func body(of root: JSONElement, _ chat: ChatRequest, _ endpoint: EndpointRecord, _ request: Request) throws -> UpstreamBody {
        try UpstreamBody(of: root, chat, for: endpoint, cacheSalt: cacheSalts.salt(for: request, at: endpoint, chat.adapter))
    }

    private func read(_ root: JSONElement, _ endpoint: EndpointRecord, isTranslated: Bool) throws -> ChatRequest {
        try ChatRequest(
            checking: root, defaults: endpoint.defaults, adapter: EngineAdapter(endpoint.engine), isTranslated: isTranslated,
            schemas: schemas)
    }
}
