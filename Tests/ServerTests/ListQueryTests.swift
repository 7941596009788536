import OpenAI
import Server
import Testing

@Suite struct ListQueryTests {
    @Test(arguments: [
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=", "limit"), ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"), ("order=up", "order"), ("order=", "order"),
    ])
    func badValuesAreNamed(query: String, param: String) {
        #expect {
            try ListQuery(Query(query))
        } throws: { error in
            (error as? APIError)?.code == .invalidValue && (error as? APIError)?.param == param
        }
    }

    @Test func aPageEndsWhereMoreRowsFollow() throws {
        var query = try ListQuery(Query("limit=2&after=a"))
        #expect(query.page([1, 2, 3]).data == [1, 2] && query.page([1, 2, 3]).hasMore && !query.page([1, 2]).hasMore)
        #expect(query.direction == "DESC" && query.afterSide == "<")
        query = try ListQuery(Query("limit=2&order=asc"))
        #expect(query.direction == "ASC" && query.afterSide == ">" && query.beforeSide == "<")
    }

    /// Read from the cursor backwards, and shown in the list's order.
    @Test func thePageBeforeACursorIsTheOneNextToIt() throws {
        let query = try ListQuery(Query("limit=2&before=a"))
        #expect(query.direction == "ASC" && query.beforeSide == ">")
        let page = query.page([3, 2, 1])
        #expect(page.data == [2, 3] && page.hasMore)
    }
}
