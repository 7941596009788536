import Threads

/// Counts and times of requests by route and status; the series of a pair is looked up once.
final class RouteMetrics: Sendable {
    private struct Pair: Hashable {
        let route: String
        let status: Int
    }

    private struct Series: Sendable {
        let count: Metrics.Counter
        let time: Metrics.Histogram
    }

    private let metrics: Metrics
    private let known = Lock<[Pair: Series]>([:])

    init(_ metrics: Metrics) { self.metrics = metrics }

    func note(_ route: String, _ status: Int, _ elapsed: Duration) {
        let series = known.withLock { known in
            let pair = Pair(route: route, status: status)
            if let series = known[pair] { return series }
            let series = Series(
                count: metrics.counter("requests_total", "route=\"\(route)\",status=\"\(status)\""),
                time: metrics.histogram("request_seconds", "route=\"\(route)\""))
            known[pair] = series
            return series
        }
        series.count.add()
        series.time.add(seconds: Double(elapsed.microseconds) / 1e6)
    }
}
