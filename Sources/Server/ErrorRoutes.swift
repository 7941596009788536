import JSON
import OpenAI

/// `GET /v1/errors`: the table of codes (04 §2), for everybody.
public enum ErrorRoutes {
    public static let all: [Route] = [Route(.get, "errors", .host, .open, meter: .none, list)]

    private static func list(_ request: Request, _ context: Context) throws -> Response {
        var response = Response.json(table)
        response.headers.append(("Cache-Control", "public, max-age=3600"))
        return response
    }

    /// It says the same as long as the program runs.
    private static let table: [UInt8] = {
        guard case .bytes(let bytes) = Response.list(ListPage(data: ErrorCode.all, hasMore: false), line).body else { return [] }
        return bytes
    }()

    private static func line(_ code: ErrorCode) -> (id: String, json: [UInt8]) {
        var json = JSONWriter()
        json.raw(#"{"id":"#)
        json.string(code.name)
        json.raw(#","object":"error_code","code":"#)
        json.string(code.name)
        json.raw(#","number":"#)
        json.integer(code.number)
        json.raw(#","status":"#)
        json.integer(code.status)
        json.raw(#","type":"#)
        json.string(code.type)
        json.raw(#","fault":"#)
        json.string(code.fault.rawValue)
        json.raw(#","retry":"#)
        json.string(code.retry.rawValue)
        json.raw("}" as StaticString)
        return (code.name, json.bytes)
    }
}
