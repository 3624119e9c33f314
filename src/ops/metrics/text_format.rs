//! The two formats of a scrape.
//!
//! `prometheus-client` writes `OpenMetrics` 1.0 only. Prometheus understands it; `promtool check metrics`, older agents and
//! `curl` expect the text format 0.0.4, in which the type and the help of a counter name the series itself, and in which
//! there is no type for what is always 1 (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

/// A format of scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Prometheus,
}

impl TextFormat {
    /// The format that an `Accept` header prefers (RFC 9110, section 12.5.1). Without a preference, the one that everyone
    /// reads.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let weight = |media_type: &str| {
            let weights = accept.split(',').filter_map(|range| weight_in(range, media_type));
            weights.fold(0.0_f32, f32::max)
        };
        let open_metrics = weight("application/openmetrics-text");
        if open_metrics > 0.0 && open_metrics >= weight("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` of a scrape.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The weight that a range of an `Accept` header gives to this media type; `None` for another type.
fn weight_in(range: &str, media_type: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(media_type) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map(str::parse);
    Some(weight.unwrap_or(Ok(1.0)).unwrap_or(0.0))
}

/// Rewrites `OpenMetrics` text in the Prometheus text format 0.0.4.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // `OpenMetrics` has the help of a metric before its type, which decides about the name.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, type_)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, type_) = match type_ {
                "counter" => ("_total", type_),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", type_),
            };
            if let Some((_, words)) = help.take().filter(|(named, _)| *named == name) {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", type_, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers_and_everyone_else_the_plain_one() {
        let cases = [
            ("", TextFormat::Prometheus),
            ("*/*", TextFormat::Prometheus),
            ("text/html,*/*;q=0.8", TextFormat::Prometheus),
            ("text/plain;version=0.0.4", TextFormat::Prometheus),
            ("application/openmetrics-text", TextFormat::OpenMetrics),
            ("application/openmetrics-text;q=0", TextFormat::Prometheus),
            ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain;q=0.4", TextFormat::Prometheus),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                TextFormat::OpenMetrics,
            ),
            // Prometheus 3 with its own encoding first.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                TextFormat::OpenMetrics,
            ),
        ];
        for (accept, format) in cases {
            assert_eq!(TextFormat::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_plain_format_names_counters_and_versions_by_their_series() {
        let open_metrics = "# HELP idissuer_build The version.\n# TYPE idissuer_build info\n\
            idissuer_build_info{version=\"1\"} 1\n\
            # HELP idissuer_renewals Renewals.\n# TYPE idissuer_renewals counter\n# UNIT idissuer_renewals x\n\
            idissuer_renewals_total{grant=\"login # TYPE\"} 0\n\
            # HELP idissuer_leading Leads.\n# TYPE idissuer_leading gauge\nidissuer_leading 1\n# EOF\n";
        let text = "# HELP idissuer_build_info The version.\n# TYPE idissuer_build_info gauge\n\
            idissuer_build_info{version=\"1\"} 1\n\
            # HELP idissuer_renewals_total Renewals.\n# TYPE idissuer_renewals_total counter\n\
            idissuer_renewals_total{grant=\"login # TYPE\"} 0\n\
            # HELP idissuer_leading Leads.\n# TYPE idissuer_leading gauge\nidissuer_leading 1\n";
        assert_eq!(to_prometheus(open_metrics), text);
    }
}
