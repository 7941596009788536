import Catalog
import Inference
import JSON
import OpenAI
import Server

let parser = JSONParser()

func chatRequest(
    _ json: String, defaults: EndpointDefaults = EndpointDefaults(), adapter: EngineAdapter = .unknown,
    schemas: SchemaCache = SchemaCache()
) throws -> ChatRequest {
    try RequestDocument.read(Array(json.utf8), parser) {
        try ChatRequest(checking: $0, defaults: defaults, adapter: adapter, schemas: schemas)
    }
}

/// The error that a request is refused with.
func refusal(_ json: String) -> APIError? {
    do {
        _ = try chatRequest(json)
        return nil
    } catch {
        return error as? APIError
    }
}

func chat(with members: String) -> String { #"{"model":"m","messages":[{"role":"user","content":"hi"}],\#(members)}"# }

func messages(_ list: String) -> String { #"{"model":"m","messages":[\#(list)]}"# }
