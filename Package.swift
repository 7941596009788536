// swift-tools-version: 6.1
import PackageDescription

/// Targets in layers; imports point down only. ARCHITECTURE.md says what each is for.
let package = Package(
    name: "xerotier",
    products: [
        .executable(name: "gateway", targets: ["gateway"]),
        .executable(name: "migrate", targets: ["migrate"]),
        .executable(name: "billing", targets: ["billing"]),
        .executable(name: "sweeper", targets: ["sweeper"]),
        .executable(name: "webhooks", targets: ["webhooks"]),
        // Not named as its product: the library `Mesh` differs by case alone.
        .executable(name: "mesh", targets: ["broker"]),
        .executable(name: "xerotier-xim-agent", targets: ["xim"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        // Layer 0: C libraries of Debian, and the C++ shim over simdjson.
        .systemLibrary(name: "CFastCGI"),
        .systemLibrary(name: "CPostgres"),
        .systemLibrary(name: "CRedis"),
        .systemLibrary(name: "CCurl"),
        .systemLibrary(name: "CSodium"),
        .systemLibrary(name: "CCrypto"),
        .systemLibrary(name: "CPCRE2"),
        .systemLibrary(name: "CS3"),
        .systemLibrary(name: "CThreads"),
        .systemLibrary(name: "CEpoll"),
        .systemLibrary(name: "CZeroMQ"),
        .systemLibrary(name: "CZstd"),
        .target(name: "CSimdJSON", linkerSettings: [.linkedLibrary("simdjson")]),

        // Layer 1: pure wire types, and one wrapper for each library.
        .target(name: "OpenAI"),
        .target(name: "Addresses"),
        .target(name: "Configuration", dependencies: ["Addresses", .product(name: "Yams", package: "Yams")]),
        .target(name: "Threads", dependencies: ["CThreads"]),
        .target(name: "FastCGI", dependencies: ["CFastCGI", "Threads"]),
        .target(name: "Postgres", dependencies: ["CPostgres"]),
        .target(name: "Redis", dependencies: ["CRedis", "Threads"]),
        .target(name: "HTTPClient", dependencies: ["Addresses", "CCurl", "Threads"]),
        .target(name: "JSON", dependencies: ["CSimdJSON", "Threads"]),
        .target(name: "JSONSchema", dependencies: ["JSON", "CPCRE2"]),
        .target(name: "Crypto", dependencies: ["CSodium", "CCrypto"]),
        .target(name: "MessagePack"),
        .target(name: "ZeroMQ", dependencies: ["CZeroMQ", "Threads"]),
        .target(name: "Mesh", dependencies: ["JSON", "MessagePack", "ZeroMQ", "CZstd"]),

        .target(name: "ObjectStore", dependencies: ["CS3", "Crypto", "HTTPClient", "Threads"]),

        // Layer 2: the frame.
        .target(name: "Tenancy", dependencies: ["OpenAI", "Postgres"]),
        .target(
            name: "Server",
            dependencies: [
                "Addresses", "OpenAI", "FastCGI", "HTTPClient", "Postgres", "Redis", "JSON", "Crypto", "Tenancy", "Jobs", "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "Jobs",
            dependencies: [
                "OpenAI", "Postgres", "Redis", "Crypto", "Tenancy", "JSON", "Threads", .product(name: "Logging", package: "swift-log"),
            ]),

        .target(name: "Mail", dependencies: ["CCurl", "OpenAI", "Postgres", "Tenancy"]),

        // Layer 3: features; each may import those above it in this list.
        .target(name: "Accounts", dependencies: ["Addresses", "Server", "Tenancy", "Crypto"]),
        .target(name: "Billing", dependencies: ["Server", "Tenancy", "Crypto", "HTTPClient", "JSON", "Mail"]),
        .target(name: "Catalog", dependencies: ["Server", "Tenancy", "Crypto", "HTTPClient", "JSON", "Mesh", "Accounts", "Billing"]),
        .target(name: "Notifications", dependencies: ["Server", "Tenancy", "Billing", "Jobs", "Mail", "Crypto", "HTTPClient", "JSON"]),
        .target(name: "Agents", dependencies: ["Server", "Tenancy", "Crypto", "JSON", "Accounts", "Jobs", "Mesh", "Redis", "ZeroMQ"]),
        .target(name: "Storage", dependencies: ["Server", "Tenancy", "Crypto", "Jobs", "JSON", "ObjectStore", "Redis", "Threads"]),
        .target(
            name: "Inference",
            dependencies: ["Server", "Billing", "Catalog", "Crypto", "HTTPClient", "JSONSchema", "Mesh", "Routing", "Threads"],
            exclude: ["FIELDS.md"]
        ),

        .target(
            name: "Worker",
            dependencies: [
                "Accounts", "Addresses", "Configuration", "Crypto", "HTTPClient", "Jobs", "Postgres", "Redis", "Server", "Tenancy",
                "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Pure: how the router judges and chooses workers. It knows nothing of the features and may be imported by any of them.
        .target(name: "Routing", dependencies: ["Crypto", "Threads"]),

        // Layer 4: executables.
        .executableTarget(
            name: "gateway",
            dependencies: [
                "Addresses", "Configuration", "Server", "Tenancy", "Jobs", "Accounts", "Agents", "Billing", "Catalog", "Notifications",
                "Inference", "HTTPClient", "ObjectStore", "Storage", "CThreads", "ZeroMQ",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .executableTarget(
            name: "migrate",
            dependencies: [
                "Addresses", "Agents", "Configuration", "HTTPClient", "Postgres", "Redis", "Tenancy", "Jobs", "Server", "Accounts",
                "Catalog",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
            ],
            path: "workers/migrate"),
        .executableTarget(
            name: "billing",
            dependencies: [
                "Addresses", "Configuration", "HTTPClient", "Tenancy", "Accounts", "Billing", "Mail", "Threads",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
            ],
            path: "workers/billing"),
        .executableTarget(
            name: "sweeper",
            dependencies: [
                "Accounts", "Agents", "Configuration", "Tenancy", "Jobs", "Server", "Billing", "Notifications", "ObjectStore", "Storage",
                "Threads",
                "Worker",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "workers/sweeper"),

        .executableTarget(
            name: "webhooks",
            // Configuration, whose layout is part of WorkerProcess: a build that goes on looks no further than what stands here.
            dependencies: [
                "Configuration", "Jobs", "Notifications", "Worker", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "workers/webhooks"),

        .executableTarget(
            name: "broker",
            dependencies: [
                "Agents", "CEpoll", "Configuration", "Crypto", "Mesh", "OpenAI", "Routing", "Server", "Tenancy", "Threads", "Worker",
                "ZeroMQ",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
            ],
            path: "workers/mesh"),

        // What customers run: never on `Server`, `Postgres` or `Redis`.
        .target(
            name: "Supervision", dependencies: ["Crypto", "HTTPClient", "Mesh", "Threads", .product(name: "Logging", package: "swift-log")]),
        .executableTarget(
            name: "xim",
            dependencies: [
                "Crypto", "HTTPClient", "JSON", "Mesh", "OpenAI", "Supervision", "Threads", "ZeroMQ",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
            ]),

        // Measuring programs; see infra/bench/committer, infra/bench/schema and infra/bench/routing.
        .executableTarget(
            name: "ledger-bench",
            dependencies: [
                "Configuration", "Tenancy", "Accounts", "Billing", "Jobs", "Threads",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/LedgerBench"),
        .executableTarget(
            name: "jobs-bench",
            dependencies: [
                "Configuration", "Jobs", "Postgres", "Tenancy", "Worker",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/JobsBench"),
        .executableTarget(name: "schema-bench", dependencies: ["JSON", "JSONSchema"], path: "Tests/SchemaBench"),
        .executableTarget(name: "routing-bench", dependencies: ["Routing"], path: "Tests/RoutingBench"),
        .target(name: "MeshSamples", dependencies: ["Mesh", "MessagePack"], path: "Tests/MeshSamples"),
        .executableTarget(name: "mesh-fuzz", dependencies: ["Mesh", "MeshSamples", "ZeroMQ"], path: "Tests/MeshFuzz"),

        .testTarget(name: "OpenAITests", dependencies: ["OpenAI"]),
        .testTarget(name: "JSONTests", dependencies: ["JSON"]),
        .testTarget(name: "JSONSchemaTests", dependencies: ["JSONSchema"]),
        .testTarget(name: "MessagePackTests", dependencies: ["MessagePack"]),
        .testTarget(name: "MeshTests", dependencies: ["Mesh", "MeshSamples", "MessagePack", "ZeroMQ"]),
        .testTarget(name: "RoutingTests", dependencies: ["Routing"]),
        .testTarget(name: "HTTPClientTests", dependencies: ["Addresses", "HTTPClient"]),
        .testTarget(name: "ConfigurationTests", dependencies: ["Configuration"]),
        .testTarget(name: "ServerTests", dependencies: ["Addresses", "Server"]),
        .testTarget(name: "BillingTests", dependencies: ["Billing", "Crypto", "HTTPClient"]),
        .testTarget(name: "AccountsTests", dependencies: ["Accounts", "JSON"]),
        .testTarget(
            name: "SupervisionTests", dependencies: ["Mesh", "Supervision", .product(name: "Logging", package: "swift-log")],
            exclude: ["scripted-engine"]),
        .testTarget(name: "AgentsTests", dependencies: ["Agents", "Crypto", "JSON", "OpenAI"]),
        .testTarget(name: "CatalogTests", dependencies: ["Catalog", "JSON"]),
        .testTarget(name: "InferenceTests", dependencies: ["HTTPClient", "Inference"]),
        .testTarget(
            name: "ContractTests",
            dependencies: [
                "Addresses", "FastCGI", "Postgres", "Redis", "HTTPClient", "Crypto", "Tenancy", "Jobs", "Server", "Accounts", "Billing",
                "Catalog", "Notifications", "Inference", "Mail", "ObjectStore", "Storage", "Threads", "ZeroMQ",
            ]),
        .testTarget(name: "StorageTests", dependencies: ["Storage"]),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)

// The parts of a request lie in many modules; without this the generic ones among them would run unspecialized.
for target in package.targets where target.type != .system {
    target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))]
}
