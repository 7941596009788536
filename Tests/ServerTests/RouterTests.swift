import Testing

import Server

@Suite struct RouterTests {
    private let router = Router([
        Route(.get, "models", .all, .inference, meter: .none) { _, _ in .json([]) },
        Route(.get, "models/*id", .all, .inference, meter: .none) { _, _ in .json([]) },
        Route(.post, "files/:id/content", [.host, .project], .inference, meter: .none) { _, _ in .json([]) },
        Route(.get, "healthz", .root, .open, meter: .none) { _, _ in .json([]) },
    ])

    @Test(arguments: [
        ("/v1/models", "models"), ("/v1/models/", "models"), ("/p/v1/models", "models"), ("/p/e/v1/models", "models"),
        ("/healthz", "healthz"),
    ])
    func everyFamilyLeadsToItsRoute(path: String, pattern: String) {
        guard case .route(let route, _) = router.match("GET", Location(path: path)) else { return #expect(Bool(false), "\(path)") }
        #expect(route.path == pattern)
    }

    @Test(arguments: ["/v1/models/a/b", "/v1/models/a%2Fb", "/p/v1/models/a%2fb"])
    func modelNamesMayHaveSlashes(path: String) {
        guard case .route(_, let parameters) = router.match("GET", Location(path: path)) else { return #expect(Bool(false)) }
        #expect(parameters["id"] == "a/b")
    }

    @Test func otherMethodsAreToldWhichAreAllowed() {
        guard case .wrongMethod(let allowed) = router.match("DELETE", Location(path: "/v1/models")) else { return #expect(Bool(false)) }
        #expect(allowed == ["GET"])
    }

    @Test(arguments: ["/v1/nothing", "/models", "/p/e/v1/files/x/content", "/", "/v1", "/v1/files/x"])
    func otherPathsLeadNowhere(path: String) {
        guard case .none = router.match("POST", Location(path: path)) else { return #expect(Bool(false), "\(path)") }
    }

    @Test func theEndpointFamilyCarriesProjectAndEndpoint() {
        let location = Location(path: "/acme/chat/v1/chat/completions")
        #expect(location.project == "acme" && location.endpoint == "chat" && location.segments == ["chat", "completions"])
    }
}
