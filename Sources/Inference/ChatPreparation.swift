import Catalog
import JSON
import OpenAI
import Server

/// A chat that is read, checked and fits its endpoint.
struct PreparedChat {
    let endpoint: EndpointRecord
    let chat: ChatRequest
    let body: UpstreamBody
    /// nil where there is no worker to choose.
    var routing: RoutedRequest?
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
                return .ready(try prepared(root, chat, endpoint, request))
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
                    var prepared = try prepared(root, chat, endpoint, request)
                    prepared.images = original.parts.remoteImages
                    return prepared
                }
            } catch {
                throw translation.inOldWords(error)
            }
        }
    }

    private func prepared(
        _ root: JSONElement, _ chat: ChatRequest, _ endpoint: EndpointRecord, _ request: Request
    ) throws -> PreparedChat {
        let body = try UpstreamBody(of: root, chat, for: endpoint, cacheSalt: cacheSalts.salt(for: request, at: endpoint, chat.adapter))
        let routing = endpoint.isServedByAgents ? try routing(root, chat, endpoint, request) : nil
        return PreparedChat(endpoint: endpoint, chat: chat, body: body, routing: routing)
    }

    /// What the body says about the choice of a worker.
    private func routing(
        _ root: JSONElement, _ chat: ChatRequest, _ endpoint: EndpointRecord, _ request: Request
    ) throws -> RoutedRequest {
        var routing = RoutedRequest()
        routing.cacheSalt = cacheSalts.salt(for: request, at: endpoint)
        if cacheSalts.isCached(request, at: endpoint) {
            routing.prefix = try promptNames.chain(ofChat: root, at: endpoint, hasSystemMessage: chat.hasSystemMessage)
        }
        if root["tools"]?.elements.first(where: { _ in true }) != nil { routing.features.append("tools") }
        if chat.parts.image != nil { routing.features.append("vision") }
        if chat.rules != nil { routing.features.append("guided_decoding") }
        return routing
    }

    private func read(_ root: JSONElement, _ endpoint: EndpointRecord, isTranslated: Bool) throws -> ChatRequest {
        try ChatRequest(
            checking: root, defaults: endpoint.defaults, adapter: EngineAdapter(endpoint.engine), isTranslated: isTranslated,
            schemas: schemas)
    }
}
