import Foundation
import JSON
import OpenAI
import Postgres
import Tenancy

/// What a list is asked for (01 §6): `limit` 1-100, `after` and `before` a thing by its identifier, `order`.
public struct ListQuery: Sendable, Equatable {
    public var limit = 20
    public var after: String?
    public var before: String?
    public var isAscending = false

    public init() {}

    /// - Parameters: what `limit` is when absent, the most it may be, and the order when that is absent; for lists whose lines are short.
    public init(_ query: Query, usual: Int = 20, most: Int = 100, isAscending: Bool = false) throws {
        limit = usual
        self.isAscending = isAscending
        if let text = query["limit"] {
            guard let limit = Int(text), (1...most).contains(limit) else {
                throw APIError.invalid("limit", "'limit' must be between 1 and \(most).")
            }
            self.limit = limit
        }
        switch query["order"] {
        case nil: break
        case "asc": self.isAscending = true
        case "desc": self.isAscending = false
        default: throw APIError.invalid("order", "'order' must be 'asc' or 'desc'.")
        }
        after = query["after"]
        before = query["before"]
    }

    /// `before` alone is read from its end backwards, so that the page next to it is found.
    private var isBackward: Bool { before != nil && after == nil }

    /// SQL for the order in which rows are read, for the sides of the two cursors, and how many rows to read. `page` brings them into order.
    public var direction: String { isAscending != isBackward ? "ASC" : "DESC" }
    public var afterSide: String { isAscending ? ">" : "<" }
    public var beforeSide: String { isAscending ? "<" : ">" }
    public var rows: Int { limit + 1 }

    /// A page of the rows that were read in that order.
    public func page<Item>(_ rows: [Item]) -> ListPage<Item> {
        let kept = rows.prefix(limit)
        return ListPage(data: isBackward ? kept.reversed() : Array(kept), hasMore: rows.count > limit)
    }

    /// Checks that what the cursors name can be in the list. What was deleted meanwhile will do: it still says where to go on.
    /// - Parameter rows: reads the row that an identifier names, none when there is no such row of the project.
    /// - Throws: `badCursor`.
    public func checkCursors(_ rows: (_ cursor: String) throws -> [Row]) throws {
        for (name, cursor) in [("after", after), ("before", before)] {
            guard let cursor else { continue }
            guard !(try rows(cursor)).isEmpty else { throw Self.badCursor(name) }
        }
    }

    public static func badCursor(_ name: String) -> APIError {
        APIError(.invalidCursor, "'\(name)' is not the identifier of anything in this list.", param: name)
    }
}

extension SQL.StringInterpolation {
    /// The end of a query that reads a list, for the last line of its WHERE: the sides of the cursors, the order and how many rows.
    /// - Parameters:
    ///   - name: what the query calls the table; nil = as it is.
    ///   - columns: what the list is ordered by, an `id` of the table last.
    public mutating func appendInterpolation(
        page list: ListQuery, of table: String, as name: String? = nil, in project: ID<Project>,
        by columns: [String] = ["created_at", "id"]
    ) {
        let place = columns.map { "\(name ?? table).\($0)" }
        for (cursor, side) in [(list.after, list.afterSide), (list.before, list.beforeSide)] {
            guard let cursor else { continue }
            let found = columns.map { "c.\($0)" }.joined(separator: ", ")
            appendLiteral("AND (\(place.joined(separator: ", "))) \(side) (SELECT \(found) FROM \(table) c WHERE c.project_id = ")
            appendInterpolation(project)
            appendLiteral(" AND c.id = ")
            appendInterpolation(cursor)
            appendLiteral(") ")
        }
        appendLiteral("ORDER BY \(place.map { "\($0) \(list.direction)" }.joined(separator: ", ")) LIMIT ")
        appendInterpolation(list.rows)
    }
}

/// One page of a list.
public struct ListPage<Item> {
    public var data: [Item]
    public var hasMore: Bool

    public init(data: [Item], hasMore: Bool) {
        self.data = data
        self.hasMore = hasMore
    }
}

extension ListPage: Sendable where Item: Sendable {}

extension Response {
    /// An answer off the hot path, where `Codable` is fast enough.
    public static func json(encoding value: some Encodable, status: Int = 200) throws -> Response {
        .json(try encoded(value), status: status)
    }

    public static func list<Item: Encodable & Identifiable>(_ page: ListPage<Item>) throws -> Response
    where Item.ID: CustomStringConvertible {
        try list(page) { (id: $0.id.description, json: try encoded($0)) }
    }

    /// - Parameter line: an item's identifier, and the item as JSON.
    public static func list<Item>(_ page: ListPage<Item>, _ line: (Item) throws -> (id: String, json: [UInt8])) rethrows -> Response {
        let lines = try page.data.map(line)
        var json = JSONWriter(capacity: 4096)
        json.raw(#"{"object":"list","data":["#)
        for (index, line) in lines.enumerated() {
            if index > 0 { json.raw("," as StaticString) }
            json.raw(line.json)
        }
        json.raw(#"],"first_id":"#)
        json.string(lines.first?.id)
        json.raw(#","last_id":"#)
        json.string(lines.last?.id)
        json.raw(#","has_more":"#)
        json.bool(page.hasMore)
        json.raw("}" as StaticString)
        return .json(json.bytes)
    }

    private static func encoded(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return Array(try encoder.encode(value))
    }
}
