import Jobs
import OpenAI
import Synchronization
import Threads

/// Counters, gauges and histograms of a process, in Prometheus' text format
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
public final class Metrics: Sendable {
    /// One counter, for those who count often: found once, then added to without a lock of all.
    public final class Counter: Sendable {
        fileprivate let value = Atomic(0)
        public func add(_ amount: Int = 1) { value.add(amount, ordering: .relaxed) }
    }

    /// One histogram, likewise.
    public final class Histogram: Sendable {
        fileprivate static let bounds: [Double] = [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
        ]

        fileprivate struct Tally {
            var counts = [Int](repeating: 0, count: bounds.count + 1)
            var sum = 0.0
        }

        fileprivate let tally = Lock(Tally())

        public func add(seconds: Double) {
            let place = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
            tally.withLock { tally in
                tally.counts[place] += 1
                tally.sum += seconds
            }
        }
    }

    private struct Series: Hashable { var name: String; var labels: String }

    private struct State {
        var counters: [Series: Counter] = [:]
        var histograms: [Series: Histogram] = [:]
        var gauges: [(series: Series, read: @Sendable () -> Double)] = []
    }

    private let state = Lock(State())

    public init() {}

    /// - Parameter labels: as in the text format, such as `code="200"`; empty for none.
    public func counter(_ name: String, _ labels: String = "") -> Counter {
        state.withLock { state in
            let series = Series(name: name, labels: labels)
            if let known = state.counters[series] { return known }
            let counter = Counter()
            state.counters[series] = counter
            return counter
        }
    }

    public func histogram(_ name: String, _ labels: String = "") -> Histogram {
        state.withLock { state in
            let series = Series(name: name, labels: labels)
            if let known = state.histograms[series] { return known }
            let histogram = Histogram()
            state.histograms[series] = histogram
            return histogram
        }
    }

    public func count(_ name: String, _ labels: String = "", by amount: Int = 1) { counter(name, labels).add(amount) }

    public func observe(_ name: String, _ labels: String = "", seconds: Double) { histogram(name, labels).add(seconds: seconds) }

    /// A value that is read when somebody asks for it. Names ending in `_total` are shown as counters.
    public func gauge(_ name: String, _ labels: String = "", _ read: @escaping @Sendable () -> Double) {
        let series = Series(name: name, labels: labels)
        state.withLock { $0.gauges.append((series, read)) }
    }

    /// The whole exposition.
    public func render() -> String {
        let state = state.withLock { $0 }
        var text = ""
        func type(_ name: String, _ kind: String) { text += "# TYPE \(Vendor.metricPrefix)\(name) \(kind)\n" }
        for (name, group) in Dictionary(grouping: state.counters, by: \.key.name).sorted(by: { $0.key < $1.key }) {
            type(name, "counter")
            for (series, value) in group.sorted(by: { $0.key.labels < $1.key.labels }) {
                text += Self.line(series, value.value.load(ordering: .relaxed))
            }
        }
        var typed: Set<String> = []
        for gauge in state.gauges {
            let series = gauge.series
            if typed.insert(series.name).inserted { type(series.name, series.name.hasSuffix("_total") ? "counter" : "gauge") }
            let labels = series.labels.isEmpty ? "" : "{\(series.labels)}"
            text += "\(Vendor.metricPrefix)\(series.name)\(labels) \(gauge.read())\n"
        }
        for (name, group) in Dictionary(grouping: state.histograms, by: \.key.name).sorted(by: { $0.key < $1.key }) {
            type(name, "histogram")
            for (series, histogram) in group.sorted(by: { $0.key.labels < $1.key.labels }) {
                text += Self.lines(series, histogram.tally.withLock { $0 })
            }
        }
        return text
    }

    private static func line(_ series: Series, suffix: String = "", _ value: Int) -> String {
        "\(Vendor.metricPrefix)\(series.name)\(suffix)\(series.labels.isEmpty ? "" : "{\(series.labels)}") \(value)\n"
    }

    private static func lines(_ series: Series, _ histogram: Histogram.Tally) -> String {
        var text = ""
        var total = 0
        let separator = series.labels.isEmpty ? "" : ","
        for (bound, count) in zip(Histogram.bounds.map { "\($0)" } + ["+Inf"], histogram.counts) {
            total += count
            text += line(Series(name: series.name, labels: "\(series.labels)\(separator)le=\"\(bound)\""), suffix: "_bucket", total)
        }
        let sumLabels = series.labels.isEmpty ? "" : "{\(series.labels)}"
        return text + "\(Vendor.metricPrefix)\(series.name)_sum\(sumLabels) \(histogram.sum)\n" + line(series, suffix: "_count", total)
    }
}

/// What workers count.
extension Metrics: JobMetrics {}
