import Crypto
import Foundation
import HTTPClient
import JSON
import Jobs
import OpenAI
import Server
import Tenancy

/// `webhooks`, and the same under OpenAI's names `webhook_endpoints` and `webhook_event_types` (08 §11).
public struct WebhookRoutes: Sendable {
    private let database: TenantDatabase
    private let sealing: Sealing
    private let outbound: OutboundGuard
    private let sender: WebhookSender

    public init(database: TenantDatabase, sealing: Sealing, outbound: OutboundGuard, sender: WebhookSender) {
        self.database = database
        self.sealing = sealing
        self.outbound = outbound
        self.sender = sender
    }

    public var all: [Route] {
        [route(.get, "webhooks/event-types", eventTypes), route(.get, "webhook_event_types", eventTypes)]
            + ["webhooks", "webhook_endpoints"].flatMap { path in
                [
                    route(.get, path, list),
                    route(.post, path, create),
                    route(.get, "\(path)/:id", retrieve),
                    route(.put, "\(path)/:id", replace),
                    route(.patch, "\(path)/:id", update),
                    route(.delete, "\(path)/:id", delete),
                    route(.post, "\(path)/:id/test", isBodyOptional: true, test),
                    route(.get, "\(path)/:id/deliveries", deliveries),
                    route(.get, "\(path)/:id/deliveries/:delivery", delivery),
                    route(.post, "\(path)/:id/deliveries/:delivery/redeliver", isBodyOptional: true, redeliver),
                ]
            } + [
                route(.post, "webhooks/:id/rotate-secret", isBodyOptional: true, rotate),
                route(.post, "webhook_endpoints/:id/rotate_secret", isBodyOptional: true, rotate),
                // OpenAI's SDK changes by POST.
                route(.post, "webhook_endpoints/:id", update),
            ]
    }

    private func route(_ method: Method, _ path: String, isBodyOptional: Bool = false, _ handler: @escaping Handler) -> Route {
        Route(method, path, .all, .management, meter: .none, isBodyOptional: isBodyOptional, handler)
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.webhooks(query) })
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let (settings, secret) = try RequestDocument.read(request.body, context.services.parser) { try WebhookBodies.new($0, outbound) }
        let actor = try context.actor(of: request)
        try vet(settings.url)
        let sealer = try sealing.sealer(of: try context.principal.projectID.description)
        return try context.write(request, to: database) {
            try Self.response(try $0.createWebhook(settings, secret ?? .random(), sealer, by: actor))
        }
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        return try Self.response(database.withConnection(of: context.principal.projectID) { try $0.webhook(id) })
    }

    private func update(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let change = try RequestDocument.read(request.body, context.services.parser) { try WebhookBodies.update($0, outbound) }
        let (condition, actor) = (try request.ifMatch(), try context.actor(of: request))
        if let url = change.url { try vet(url) }
        return try context.write(request, to: database) {
            try Self.response(try $0.changeWebhook(id, change, if: condition, by: actor))
        }
    }

    private func replace(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let settings = try RequestDocument.read(request.body, context.services.parser) { try WebhookBodies.replacement($0, outbound) }
        let (condition, actor) = (try request.ifMatch(), try context.actor(of: request))
        try vet(settings.url)
        return try context.write(request, to: database) {
            try Self.response(try $0.replaceWebhook(id, by: settings, if: condition, by: actor))
        }
    }

    private func delete(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let (condition, actor) = (try request.ifMatch(), try context.actor(of: request))
        return try context.write(request, to: database) {
            try $0.deleteWebhook(id, if: condition, by: actor)
            return try .json(encoding: DeletedWebhook(id: id))
        }
    }

    private func rotate(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let (secret, keepsOld) =
            request.body.isEmpty
            ? (nil, true) : try RequestDocument.read(request.body, context.services.parser) { try WebhookBodies.rotation($0) }
        let actor = try context.actor(of: request)
        let sealer = try sealing.sealer(of: try context.principal.projectID.description)
        let overlap = keepsOld ? WebhookRules.overlap * context.services.timeScale : 0
        return try context.write(request, to: database) {
            try Self.response(
                try $0.rotateWebhookSecret(id, to: secret ?? .random(), overlap: overlap, sealer, by: actor))
        }
    }

    /// Sends `webhook.test`, or an empty sample of the type that is asked for, while the caller waits.
    private func test(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let type =
            request.body.isEmpty
            ? nil
            : try RequestDocument.read(request.body, context.services.parser) { root -> String? in
                try Fields.refuseMembers(of: root, "", except: ["event_type"])
                return try root["event_type"].flatMap { try $0.isNull ? nil : Fields.string($0, "event_type", atMost: 64) }
            }
        if let type, EventType(rawValue: type) == nil {
            throw APIError(.invalidEventType, "'\(type)' is no type of event. webhooks/event-types lists them.", param: "event_type")
        }
        let project = try context.principal.projectID
        if let replayed = try context.replay(of: request) { return replayed }
        let (url, stored) = try database.withConnection(of: project) {
            try $0.beginWebhookTest(id, hour: 3_600 * context.services.timeScale)
        }
        let event = WebhookEnvelope(type: type ?? "webhook.test", project: project)
        let letter = WebhookSender.Letter(
            project: project, url: url, eventID: event.id, body: event.json(data: Array(#"{"test":true}"#.utf8)),
            secrets: try stored.open(project, sealing))
        let answer = sender.send(letter)
        let response = try Response.json(encoding: WebhookTest(webhook: id, type: event.type, eventID: event.id, answer.attempt))
        context.claim?.conclude(response)
        return response
    }

    private func deliveries(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let query = try ListQuery(request.query)
        let status = request.query["status"]
        if let status, !["pending", "delivering", "succeeded", "retrying", "exhausted"].contains(status) {
            throw APIError.invalid("status", "'status' must be pending, delivering, succeeded, retrying or exhausted.")
        }
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.deliveries(of: id, query, status: status) })
    }

    private func delivery(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let delivery = request.pathParameters["delivery"] ?? ""
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.delivery(delivery, of: id) })
    }

    private func redeliver(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let delivery = request.pathParameters["delivery"] ?? ""
        let actor = try context.actor(of: request)
        return try context.write(request, to: database) { try .json(encoding: $0.redeliver(delivery, of: id, by: actor)) }
    }

    private func eventTypes(_ request: Request, _ context: Context) throws -> Response {
        try .json(encoding: EventTypeList())
    }

    /// A name that leads to an address of ours today is refused today; one that does not resolve yet may be set up later.
    private func vet(_ text: String) throws {
        do throws(OutboundRefusal) {
            _ = try outbound.vet(try outbound.check(text), within: .seconds(2))
        } catch {
            if case .unreachable = error { return }
            throw error.apiError(param: "url")
        }
    }

    private static func response(_ webhook: WebhookObject) throws -> Response {
        var response = try Response.json(encoding: webhook)
        response.headers.append(("ETag", "\"\(webhook.generation)\""))
        return response
    }

    private static func id(_ request: Request) throws -> ID<Webhook> {
        guard let id = ID<Webhook>(request.pathParameters["id"] ?? "") else { throw WebhookError.noSuchWebhook }
        return id
    }
}

/// The types of event, as they are listed.
private struct EventTypeList: Encodable {
    struct Item: Encodable {
        var type: String
        var object = "webhook.event_type"
        var reserved: Bool
    }
    var object = "list"
    var data = EventType.allCases.map { Item(type: $0.rawValue, reserved: $0.isReserved) }
}

/// What came of a test, under our names and OpenAI's.
private struct WebhookTest: Encodable {
    var object = "webhook_endpoint.test"
    var webhookID: ID<Webhook>
    var webhookEndpointID: ID<Webhook>
    var eventID: String
    var eventType: String
    var delivered: Bool
    /// Always, as OpenAI has it: the test was made.
    var success = true
    /// null where there was no answer.
    var statusCode: Int?
    /// Why there was none.
    var reason: String?
    var durationMilliseconds: Int

    init(webhook: ID<Webhook>, type: String, eventID: String, _ attempt: DeliveryAttempt) {
        (webhookID, webhookEndpointID, eventType, self.eventID) = (webhook, webhook, type, eventID)
        (delivered, statusCode, reason) = (attempt.isSuccess, attempt.statusCode, attempt.error)
        durationMilliseconds = attempt.durationMilliseconds
    }

    private enum CodingKeys: String, CodingKey {
        case object, delivered, success, reason
        case webhookID = "webhook_id"
        case webhookEndpointID = "webhook_endpoint_id"
        case eventID = "event_id"
        case eventType = "event_type"
        case statusCode = "status_code"
        case durationMilliseconds = "duration_ms"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(object, forKey: .object)
        try container.encode(webhookID, forKey: .webhookID)
        try container.encode(webhookEndpointID, forKey: .webhookEndpointID)
        try container.encode(eventID, forKey: .eventID)
        try container.encode(eventType, forKey: .eventType)
        try container.encode(delivered, forKey: .delivered)
        try container.encode(success, forKey: .success)
        try container.encode(statusCode, forKey: .statusCode)
        try container.encode(reason, forKey: .reason)
        try container.encode(durationMilliseconds, forKey: .durationMilliseconds)
    }
}
