//! What the metrics of the leading operator say, read through the API server.

use std::future::ready;
use std::time::Duration;

use futures::{AsyncBufReadExt as _, AsyncReadExt as _, TryStreamExt as _};

use super::cluster::Cluster;
use super::failure::{Failure, FailureKind};

/// How many bytes are read: the series of more than 100,000 credentials.
const LIMIT: u64 = 64 * 1024 * 1024;
/// How long that may take.
const TIME: Duration = Duration::from_secs(15);
/// The beginnings of the metrics that are kept: none is about a single credential.
const KEPT: [&str; 2] = ["idissuer_issuer_", "idissuer_queue_"];

/// The metrics of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OperatorMetrics {
    /// Its namespace and name.
    pub(super) pod: String,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl OperatorMetrics {
    /// Reads those of a pod. The failure says in plain words why nothing is known.
    pub(super) async fn read(cluster: &Cluster, namespace: &str, name: &str) -> Result<Self, Failure> {
        let pod = format!("{namespace}/{name}");
        let not_read =
            |cause: &str| Failure::from(format!("the metrics of the operator's pod {pod}: {cause}"));
        let page = cluster.metrics(namespace, name).await.map_err(|failure| match failure.kind {
            FailureKind::NotFound => {
                not_read("there is no such pod; an operator outside of the cluster is not asked")
            }
            FailureKind::Unreachable => not_read("the API server does not reach it; check network policies"),
            _ => failure,
        })?;
        // Anyone can give a pod this name, so its page may have no end.
        let lines = page.take(LIMIT).lines().try_filter_map(|line| ready(Ok(sample(&line))));
        match tokio::time::timeout(TIME, lines.try_collect()).await {
            Ok(Ok(samples)) => Ok(Self { pod, samples }),
            Ok(Err(error)) => Err(not_read(&error.to_string())),
            Err(_) => Err(not_read(&format!("not at their end after {} s", TIME.as_secs()))),
        }
    }

    /// The value of a metric without labels, or of its series with this label.
    pub(super) fn value(&self, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
        let is_wanted = |sample: &&Sample| {
            let has =
                |(key, value): (&str, &str)| sample.labels.iter().any(|it| it.0 == key && it.1 == value);
            sample.name == name && label.is_none_or(has)
        };
        self.samples.iter().find(is_wanted).map(|sample| sample.value)
    }

    /// The values that a label has in a metric.
    pub(super) fn labels<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
        let samples = self.samples.iter().filter(move |sample| sample.name == name);
        samples.flat_map(move |it| it.labels.iter().filter(move |it| it.0 == label).map(|it| it.1.as_str()))
    }
}

/// A line of the text format. No label of the kept metrics has a quote or a backslash in it.
fn sample(line: &str) -> Option<Sample> {
    if !KEPT.iter().any(|begin| line.starts_with(begin)) {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let label = |text: &str| {
        let (key, value) = text.split_once("=\"")?;
        Some((key.trim_start_matches(',').to_owned(), value.to_owned()))
    };
    let labels = labels.trim_end_matches('}').split_terminator('"');
    // Every value ends with a quote, so keys and values take turns.
    let labels: Vec<_> = labels.collect();
    let labels = labels.chunks(2).filter_map(|pair| label(&pair.join("\""))).collect();
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The metrics of this page.
    pub(in crate::plugin) fn metrics(page: &str) -> OperatorMetrics {
        OperatorMetrics {
            pod: "system/operator".to_owned(),
            samples: page.lines().filter_map(sample).collect(),
        }
    }

    #[test]
    fn series_are_read_with_their_labels_and_those_of_credentials_are_left_out() {
        let page = "# HELP idissuer_queue_depth x\n# TYPE idissuer_queue_depth gauge\nidissuer_queue_depth 3\n\
            idissuer_issuer_requests_total{operation=\"login\",outcome=\"ok\"} 7\n\
            idissuer_issuer_clock_skew_seconds{origin=\"https://issuer.example:8443\"} -1.5\n\
            idissuer_credential_ready{namespace=\"shop\",name=\"billing\",reason=\"x\"} 1\nodd\n";
        let found = metrics(page);
        assert_eq!(found.samples.len(), 3, "{found:?}");
        assert_eq!(found.value("idissuer_queue_depth", None), Some(3.0));
        assert_eq!(found.value("idissuer_issuer_requests_total", Some(("outcome", "ok"))), Some(7.0));
        assert_eq!(found.value("idissuer_issuer_requests_total", Some(("outcome", "tls"))), None);
        let skew = "idissuer_issuer_clock_skew_seconds";
        let origins: Vec<_> = found.labels(skew, "origin").collect();
        assert_eq!(origins, ["https://issuer.example:8443"]);
        assert_eq!(found.value(skew, Some(("origin", origins[0]))), Some(-1.5));
    }
}
